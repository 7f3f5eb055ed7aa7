from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed, TooLarge
from gateway.surfaces.strict_json import JsonBounds, _careful, _NotPlain, _plain, parse

LONE = b'"\\ud800"'

# (what is hostile about it, the bytes, where it is found)
REFUSED = [
    ("duplicate key", b'{"a":1,"a":2}', 7),
    ("duplicate key by escape", b'{"a":1,"\\u0061":2}', 7),
    ("duplicate key, deep", b'[{"x":{"b":1, "b" :2}}]', 14),
    ("duplicate key, far apart", b'{"a":[{"a":1}],"b":{"a":2},"a":3}', 27),
    ("keys that differ by case", b'{"name":1,"Name":2}', 10),
    ("keys that differ by long s", '{"params":1,"param\u017f":2}'.encode(), 12),
    ("keys that differ by width", '{"sql":1,"\uff53ql":2}'.encode(), 9),
    ("keys that differ by ligature", '{"fi":1,"\ufb01":2}'.encode(), 8),
    ("a key for prototypes", b'{"__proto__":1}', 1),
    ("NUL in a key", b'{"a\\u0000":1}', 1),
    ("NaN", b"NaN", 0),
    ("Infinity", b"[1,Infinity]", 3),
    ("-Infinity", b'{"a":-Infinity}', 5),
    ("a double out of range", b"[1e400]", 1),
    ("a negative double out of range", b"-1e400", 0),
    ("a double below range", b"1e-400", 0),
    ("an exponent without bound", b"1e-99999999999999999999", 0),
    ("an integer beyond int64", b"9223372036854775808", 0),
    ("an integer below int64", b"-9223372036854775809", 0),
    ("a 5,000-digit number", b"1" * 5000, 0),
    ("a number that a double rounds", b'{"a":1.0000000000000000001}', 5),
    ("a fraction that a double rounds", b"0.1000000000000000055511151231257827", 0),
    ("a leading zero", b"01", 1),
    ("a plus sign", b"+1", 0),
    ("a point at the end", b"1.", 1),
    ("hexadecimal", b"0x10", 1),
    ("a lone high surrogate", LONE, 0),
    ("a lone low surrogate", b'["\\uDC00"]', 1),
    ("surrogates the wrong way", b'"\\udc00\\ud800"', 0),
    ("a lone surrogate in a key", b'{"\\ud800":1}', 1),
    ("an encoded surrogate", b'"\xed\xa0\x80"', 1),
    ("a byte that is no UTF-8", b'"\xff"', 1),
    ("an overlong slash", b'"\xc0\xaf"', 1),
    ("a cut character", b'"\xe2\x82', 1),
    ("a UTF-8 mark", b"\xef\xbb\xbf{}", 0),
    ("UTF-16", '{"a":1}'.encode("utf-16"), 0),
    ("UTF-16 without a mark", '{"a":1}'.encode("utf-16-le"), 1),
    ("UTF-32", '{"a":1}'.encode("utf-32"), 0),
    ("trailing bytes", b"{} x", 3),
    ("two documents", b"{}{}", 2),
    ("two documents on two lines", b"{}\n{}", 3),
    ("NUL", b"{}\0", 2),
    ("nothing", b"", 0),
    ("only spaces", b"  ", 2),
    ("a control character in a string", b'"a\nb"', 2),
    ("a string without an end", b'["abc]', 1),
    ("an escape without an end", b'"\\', 0),
    ("an escape that is none", b'{"\\x":1}', 2),
    ("a comment", b"{} // no", 3),
    ("a trailing comma", b"[1,]", 2),
    ("single quotes", b"{'a':1}", 1),
    ("a form feed", b"\x0c{}", 0),
    ("a no-break space", "\u00a0{}".encode(), 0),
    ("depth 65", b"[" * 65 + b"]" * 65, 64),
    ("brackets that do not pair", b"[}", 1),
    ("an end before a start", b"]", 0),
]


@pytest.mark.parametrize(
    ("data", "position"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_what_has_more_than_one_reading_is_refused_with_its_place(
    data: bytes, position: int
) -> None:
    with pytest.raises(Malformed) as refused:
        parse(data)
    found = refused.value.extra["position"]
    # The parser of the library points at, or right behind, what it cannot read.
    assert position <= found <= position + 1


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"sql":"SELECT 1","params":[1,2.5,null,true]}', None),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"[0.1,1.10,1E2,5e-324,-0.0,123456789.125]", None),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'"\\u0000"', "\0"),
        (b" \t\r\n[ ] ", []),
        ('{"straße":1,"STRASE":2}'.encode(), None),
        (b'[{"a":1},{"a":2},{"b":{"a":3}}]', None),
        (b'{"a":"a:b","b":"\\"a\\":1"}', {"a": "a:b", "b": '"a":1'}),
        (b"[" * 64 + b"]" * 64, None),
    ],
)
def test_what_has_one_reading_is_read(data: bytes, value: Any) -> None:
    assert parse(data) == (json.loads(data) if value is None else value)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"", b"["),
        (b"", b'{"a":'),
        (b'"', b'\\"'),
        (b'"', b"\\"),
        (b"", b"1"),
        (b"[", b'""'),
        (b"[", b'"",'),
        (b'{"a"', b" "),
    ],
    ids=["brackets", "objects", "quotes", "escapes", "digits", "strings", "items", "spaces"],
)
def test_hostile_texts_cost_no_more_than_their_length(start: bytes, piece: bytes) -> None:
    def cost(times: int) -> float:
        data = start + piece * times
        spent = []
        for _ in range(3):
            before = time.process_time()
            with pytest.raises(Malformed):
                parse(data)
            spent.append(time.process_time() - before)
        return max(min(spent), 1e-3)

    # Four times the text; a reader that goes back would take sixteen times as long.
    assert cost(120_000) < 8 * cost(30_000)


def test_bounds_of_size_and_keys_hold() -> None:
    with pytest.raises(TooLarge):
        parse(b" " * 101, JsonBounds(bytes=100))
    many = json.dumps({f"k{i}": 1 for i in range(11)}).encode()
    with pytest.raises(Malformed):
        parse(many, JsonBounds(keys=10))
    with pytest.raises(Malformed):
        parse(b'{"' + b"k" * 300 + b'":1}')


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "key", "straße", "日"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values, st.booleans())
def test_every_plain_value_survives(value: Any, ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=60) | st.text('{}[]",:\\u0aA19.-e \n', max_size=40).map(str.encode))
def test_what_is_accepted_is_what_the_library_reads_too(data: bytes) -> None:
    try:
        value = parse(data)
    except Malformed:
        return
    exact = json.loads(data, parse_float=Decimal)
    assert json.loads(data) == value
    assert exact == value or "." in data.decode() or "e" in data.decode().lower()


_WORDS = st.sampled_from(
    ["a", "A", "ß", "ss", "__proto__", "k" * 257, "\\u0061", "\\ud800", "x\\n", "[", "{", ":", "é"]
)
_SCALARS = st.one_of(
    st.sampled_from(["1", "-0", "1.5", "0.1", "1e400", "9" * 20, "NaN", "true", "null", "01", ""]),
    _WORDS.map(lambda word: f'"{word}"'),
)
_TEXTS = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(_WORDS, inner), max_size=4).map(
            lambda pairs: "{" + ",".join(f'"{key}" :{value}' for key, value in pairs) + "}"
        ),
    ),
    max_leaves=12,
)


@given(_TEXTS, st.sampled_from([JsonBounds(), JsonBounds(depth=2), JsonBounds(keys=2)]))
def test_the_quick_reader_accepts_nothing_that_the_careful_one_refuses(
    text: str, bounds: JsonBounds
) -> None:
    try:
        quick = _plain(text, bounds)
    except _NotPlain:
        return
    assert json.dumps(quick) == json.dumps(_careful(text, bounds))


@pytest.mark.parametrize("text", ['{"a":1,"b":[true,null,{"c":"d"}]}', "[]", '{"a":"é"}', " 1 "])
def test_the_quick_reader_reads_what_is_usual(text: str) -> None:
    assert _plain(text, JsonBounds()) == json.loads(text)
