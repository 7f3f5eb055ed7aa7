"""What stored code refers to: the canonical text of views, the bodies of triggers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from gateway.model import Deny
from gateway.upstreams.sql.mysql import lexing
from gateway.upstreams.sql.mysql.catalog import Name
from gateway.upstreams.sql.mysql.functions import BARE_ONLY, KEYWORDS, NATIVE
from gateway.upstreams.sql.mysql.lexing import Token

# Character sets whose literals are lexed as they are in utf8mb4.
_INTRODUCERS = frozenset({"_utf8mb4", "_utf8mb3", "_utf8", "_latin1", "_ascii", "_binary"})
# Heads of statements with effects that no row shows, or with more statements inside strings.
_OPAQUE = frozenset({"call", "execute", "prepare", "deallocate", "outfile", "dumpfile", "handler"})
_BODY_WORDS = frozenset({"if", "elseif", "until", "while", "return", "do", "case", "declare"})


def odd_call(tokens: Sequence[Token], known: Collection[str] = ()) -> str | None:
    """What stands before a bracket, or another sign of code that is not known to be harmless, as
    a sentence's object; ``None`` when all is known. ``known``: names, in lower case, that may
    stand before a bracket for other reasons."""
    before: Token | None = None
    for at, (token, after) in enumerate(zip(tokens, [*tokens[1:], None], strict=True)):
        # Native functions have no schema: with one, the name is that of a stored function.
        dotted = before is not None and before.kind == "other" and before.text == "."
        told = _odd(token, after, known if _declared(tokens, at) else (), dotted=dotted)
        if told is not None:
            return told
        before = token
    return None


# What the name of a table follows that rows are inserted into, or that of a WITH's query.
_DECLARES = frozenset(
    {"into", "insert", "replace", "ignore", "low_priority", "high_priority", "delayed", "with",
     "recursive"}
)  # fmt: skip


def _declared(tokens: Sequence[Token], at: int) -> bool:
    """Whether a name before a bracket is given here, or the bracket lists its columns. Elsewhere it
    is called, and what is called could be a function that was loaded under that name."""
    start = at - 2 if at >= 2 and tokens[at - 1].text == "." else at
    before = tokens[start - 1] if start > 0 else None
    if before is None or before.text != ",":
        return before is not None and before.text.lower() in _DECLARES
    depth = 0
    for end in range(at + 1, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[end].text, 0) if tokens[end].kind == "other" else 0
        if depth == 0:
            rest = [t.text.lower() for t in tokens[end + 1 : end + 3]]
            return rest == ["as", "("]
    return False


def _odd(token: Token, after: Token | None, known: Collection[str], *, dotted: bool) -> str | None:
    name = token.text.lower()
    if token.kind == "word" and name in _OPAQUE:
        return name.upper()
    if after is None:
        return None
    if token.kind == "word" and after.kind == "string" and name.startswith("_"):
        return None if name in _INTRODUCERS else f"the character set {name}"
    if after.text != "(" or after.kind != "other" or token.kind not in ("word", "quoted"):
        return None
    if name in known:
        return None
    if token.kind == "quoted" or dotted:
        return f"the function {token.text}"
    if name in KEYWORDS or name in _BODY_WORDS:
        return None
    if name not in NATIVE or after.spaced:
        return f"the function {token.text}"
    return None


def bare_only(tokens: Collection[Token]) -> str | None:
    """A function that would change the session with the argument that it is given here."""
    listed = list(tokens)
    for i, token in enumerate(listed[:-2]):
        called = token.text.lower() in BARE_ONLY and listed[i + 1].text == "("
        if called and listed[i + 2].text != ")":
            return f"the function {token.text} with an argument"
    return None


def lacked(tokens: Sequence[Token], lacking: Collection[str]) -> str | None:
    """A word that means something else on a server that lacks some of the native functions: one of
    those, so that a stored or loaded one may have the name, or the quotes of dollar signs that it
    knows."""
    before = _NONE
    for token, after in pairwise([*tokens, _NONE] if lacking else ()):
        if token.kind == "word" and token.text.startswith("$"):
            return f"the word {token.text}"
        called = after.text == "(" and before.text.lower() not in _NAMED
        if token.kind == "word" and called and token.text.lower() in lacking:
            return f"the function {token.text}"
        before = token
    return None


_NONE = Token("other", "", spaced=False)
# What the name of a table, a query or an index follows, and no call does.
_NAMED = frozenset({"into", "with", "recursive", "key", "index", "unique", "."})


def pairs(tokens: Collection[Token]) -> Iterator[Name]:
    """Every ``a.b`` of a text: names of tables are among them."""
    listed = list(tokens)
    for i in range(len(listed) - 2):
        if listed[i + 1].kind == "other" and listed[i + 1].text == ".":
            yield listed[i].text, listed[i + 2].text


def view_tables(definition: str, lacking: Collection[str] = ()) -> frozenset[Name] | Deny:
    """What a view's canonical text names, and more. ``lacking``: see ``Variety``."""
    texts = lexing.read(definition, ())
    if isinstance(texts, Deny):
        return _unknown(f"its text cannot be read: {texts.detail}")
    tokens = [token for text in texts for token in text.tokens]
    told = odd_call(tokens) or bare_only(tokens) or lacked(tokens, lacking)
    if told is not None:
        return _unknown(f"it uses {told}")
    return frozenset(pairs(tokens))


def trigger_tables(
    body: str,
    schema: str,
    known: Collection[str],
    routines: Collection[str],
    lacking: Collection[str] = (),
) -> frozenset[Name] | Deny:
    """Every table that a trigger's body can touch, and more. ``known``: those of ``schema``;
    ``routines``: names of stored routines, in lower case; ``lacking``: see ``Variety``."""
    texts = lexing.read(body, ())
    if isinstance(texts, Deny):
        return _unknown(f"its body cannot be read: {texts.detail}")
    tokens = [token for text in texts for token in text.tokens]
    names = {name.lower(): name for name in known}
    told = odd_call(tokens, names.keys() - set(routines)) or bare_only(tokens) or _outside(tokens)
    if told is None:
        told = _stored(tokens, routines) or lacked(tokens, lacking)
    if told is not None:
        return _unknown(f"it uses {told}")
    single = {(schema, names[t.text.lower()]) for t in tokens if t.text.lower() in names}
    return frozenset({*pairs(tokens), *single})


def elsewhere(body: str, known: Collection[str]) -> frozenset[Name]:
    """Tables with their schema, in a trigger's body that ``trigger_tables`` could read: every
    ``a.b`` where ``a`` is no table of its own schema (``known``) and stands nowhere by itself, as
    an alias does where it is given."""
    texts = lexing.read(body, ())
    tokens = [] if isinstance(texts, Deny) else [token for text in texts for token in text.tokens]
    inner = {"new", "old", *(name.lower() for name in known)}
    dots = [token.kind == "other" and token.text == "." for token in tokens]
    dots = [False, *dots, False]
    # ``dots`` is shifted by one: at ``i`` it tells of the token before, at ``i + 2`` of that after.
    inner |= {t.text.lower() for i, t in enumerate(tokens) if not dots[i] and not dots[i + 2]}
    inner |= {t.text.lower() for i, t in enumerate(tokens) if dots[i] and dots[i + 2]}
    return frozenset((a, b) for a, b in pairs(tokens) if a.lower() not in inner)


def _stored(tokens: Sequence[Token], routines: Collection[str]) -> str | None:
    """Words of the grammar are no call, unless a routine has that name."""
    for token, after in pairwise(tokens):
        if after.text == "(" and token.text.lower() in routines:
            return f"the function {token.text}"
    return None


def _outside(tokens: Collection[Token]) -> str | None:
    for token in tokens:
        if token.kind == "word" and (token.text.lower() == "global" or token.text.startswith("@@")):
            return "a setting of the server"
    return None


def _unknown(detail: str) -> Deny:
    return Deny(reason="action.unsupported", detail=detail)
