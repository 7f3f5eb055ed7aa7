"""A statement taken apart from the left, word by word."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.upstreams.sql.mysql.lexing import Token


class Words:
    """Takes a statement apart from the left."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at == len(self._tokens)

    @property
    def start(self) -> int:
        """Where the next token begins in the text that is sent."""
        return self._tokens[self._at].at

    @property
    def end(self) -> int:
        """Where the last token that was taken ends in the text that is sent."""
        token = self._tokens[self._at - 1]
        return token.at + len(token.text) + (2 if token.kind == "quoted" else 0)

    @property
    def at_query(self) -> bool:
        return self._next() in ("select", "with")

    def _next(self) -> str:
        if self.ended or self._tokens[self._at].kind != "word":
            return ""
        return self._tokens[self._at].text.lower()

    def rest(self) -> Sequence[Token]:
        """The tokens that are left; they count as taken."""
        left = self._tokens[self._at :]
        self._at = len(self._tokens)
        return left

    def column(self) -> str | None:
        """The next token as the name of a column or an index."""
        return self._word()

    def take(self, *words: str) -> bool:
        """The next tokens, if they are these keywords."""
        part = self._tokens[self._at : self._at + len(words)]
        if [t.text.lower() if t.kind == "word" else "" for t in part] != list(words):
            return False
        self._at += len(words)
        return True

    def name(self) -> tuple[str | None, str] | None:
        """The next tokens as the name of a table."""
        first = self._word()
        if first is None:
            return None
        if self._at < len(self._tokens) and self._tokens[self._at].text == ".":
            self._at += 1
            second = self._word()
            return None if second is None else (first, second)
        return None, first

    def _word(self) -> str | None:
        if self._at >= len(self._tokens) or self._tokens[self._at].kind not in ("word", "quoted"):
            return None
        self._at += 1
        return self._tokens[self._at - 1].text
