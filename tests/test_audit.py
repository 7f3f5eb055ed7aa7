"""The chain shows every change of a log, given its last checkpoint; a second verifier that shares
no code agrees on each."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from datetime import timedelta
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.audit import GENESIS, canonical, digest_of, seal, verify
from gateway.model import Surface
from tests.fixtures import second_verifier
from tests.fixtures.fakes import START

Log = list[tuple[int, str, str]]


def a_log(count: int = 32, name: str = "a") -> Log:
    log: Log = []
    previous = GENESIS
    for seq in range(1, count + 1):
        fields = {
            "call": f"call_{name}{seq}",
            "measured": {"rows": seq, "share": seq / 7},
            "note": 'é "quoted" \n',
            "none": None,
        }
        entry = seal(previous, seq, START + timedelta(seconds=seq), "call.settle", fields)
        log.append((entry.seq, entry.hash, entry.body))
        previous = entry.hash
    return log


LOG = a_log()
CHECKPOINT = [(32, LOG[-1][1])]


def found(log: Log, checkpoints: list[tuple[int, str]] = CHECKPOINT) -> bool:
    """Whether both verifiers object; they must agree, also on where the first fault is."""
    verdict = verify(log, checkpoints)
    first = next(second_verifier.faults(log, checkpoints), None)
    assert (verdict.fault is None) == (first is None), (verdict, first)
    if verdict.fault is not None and first is not None:
        assert verdict.fault.seq == first[0], (verdict, first)
    return verdict.fault is not None


def test_a_good_log_is_good_to_both() -> None:
    assert not found(LOG)
    assert not found(LOG, [])
    assert not found([], [])
    verdict = verify(LOG, [(n, h) for n, h, _ in LOG])
    assert (verdict.entries, verdict.head, verdict.fault) == (32, LOG[-1][1], None)


def changed(place: int, body: bytes) -> Log:
    seq, digest, _ = LOG[place]
    # As a store reads it: bytes that are no text show as U+FFFD.
    mutant = (seq, digest, body.decode("utf-8", "replace"))
    return [*LOG[:place], mutant, *LOG[place + 1 :]]


def test_every_flipped_bit_is_found() -> None:
    mutants = 0
    for place, (_, _, text) in enumerate(LOG):
        body = text.encode()
        for at, bit in itertools.product(range(len(body)), range(8)):
            mutant = bytearray(body)
            mutant[at] ^= 1 << bit
            log = changed(place, bytes(mutant))
            verdict = verify(log, CHECKPOINT)
            assert verdict.fault is not None
            assert verdict.fault.seq == place + 1
            mutants += 1
            if (at + bit) % 29 == 0:  # the slower one sees a sample
                assert found(log)
    assert mutants > 46_000


@pytest.mark.parametrize("replacement", [0x00, 0x20, 0x22, 0x30, 0x39, 0x61, 0x7D])
def test_every_replaced_byte_is_found(replacement: int) -> None:
    for place in (0, 15, 31):
        body = LOG[place][2].encode()
        for at in range(len(body)):
            mutant = bytearray(body)
            if mutant[at] == replacement or mutant[at] > 0x7F:
                continue
            mutant[at] = replacement
            assert found(changed(place, bytes(mutant)))


def test_every_inserted_space_and_every_cut_of_an_entry_is_found() -> None:
    body = LOG[31][2].encode()
    for at in range(len(body) + 1):
        if at == len(body) or body[at] < 0x80:
            assert found(changed(31, body[:at] + b" " + body[at:]))
    for at in range(len(body)):
        if body[at] < 0x80:
            assert found(changed(31, body[:at]))


@pytest.mark.parametrize("length", range(32))
def test_every_truncation_is_found_by_the_checkpoint_alone(length: int) -> None:
    assert not found(LOG[:length], [])
    assert found(LOG[:length])


def test_every_swap_deletion_and_duplication_is_found() -> None:
    for one, two in itertools.combinations(range(32), 2):
        mutant = list(LOG)
        mutant[one], mutant[two] = mutant[two], mutant[one]
        assert found(mutant)
        renumbered = [(n, h, b) for n, (_, h, b) in enumerate(mutant, start=1)]
        assert found(renumbered)
    for place in range(32):
        assert found(LOG[:place] + LOG[place + 1 :])
        assert found([*LOG[: place + 1], *LOG[place:]])


def test_every_splice_from_another_log_is_found() -> None:
    other = a_log(name="b")
    for start, end in itertools.combinations(range(33), 2):
        assert found(LOG[:start] + other[start:end] + LOG[end:])


@pytest.mark.parametrize("first", [1, 16, 32])
def test_a_log_written_anew_by_its_owner_is_found_by_the_checkpoint_alone(first: int) -> None:
    forged = list(LOG)
    previous = forged[first - 2][1] if first > 1 else GENESIS
    for place in range(first - 1, 32):
        fields = json.loads(forged[place][2])
        fields["call"] = "call_forged"
        entry = seal(previous, place + 1, START, "call.settle", fields)
        forged[place] = (entry.seq, entry.hash, entry.body)
        previous = entry.hash
    assert not found(forged, [])
    assert found(forged)
    verdict = verify(forged, [(n, h) for n, h, _ in LOG])
    assert verdict.fault is not None
    assert verdict.fault.seq == first


def test_what_follows_the_checkpoint_must_follow_in_the_chain() -> None:
    longer = a_log(40)
    assert not found(longer)
    assert found(longer[:35] + longer[36:])


@pytest.mark.parametrize(
    "body", ["", "null", "[]", '{"seq":33}', "{}", "x", '{"seq":33,"prev":"x","seq":33}']
)
def test_a_hashed_body_that_is_no_entry_is_found(body: str) -> None:
    digest = hashlib.sha256(body.encode()).hexdigest()
    assert found([*LOG, (33, digest, body)])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_canonical_bytes_are_rfc_8785_to_both(value: Any) -> None:
    text = canonical(value)
    assert text == rfc8785.dumps(value)
    assert second_verifier.canonical(text.decode()) == value


ASCII = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(ASCII)
@example({"\x7f\x1f\x00": "\x00\x1f\x7f\u2028/\b\f"})
@example({"surface": Surface.SQL, "b": [Surface.MCP]})
@example({"b": "", "a": "", "B": "", "": "", "a\x00": ""})
@example(["\ud800"])
@example({"deep": [[[[[[[[{"x": 2**53 - 1}]]]]]]]]})
def test_what_is_written_the_quick_way_are_the_same_bytes(value: Any) -> None:
    try:
        expected = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        with pytest.raises(rfc8785.CanonicalizationError):
            canonical(value)
        return
    assert canonical(value) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"b":1,"a":2}',
        '{"a":1,"a":1}',
        '{"a": 1}',
        "1.0",
        "1e2",
        "-0",
        "01",
        '"\\u0041"',
        '"\\u000a"',
        '"\\/"',
        '"\\u001F"',
        "{",
        "[1,]",
        '{"a":1,}',
        '"a',
        "nul",
        "[] ",
        "9007199254740993",
    ],
)
def test_the_second_verifier_refuses_what_is_not_canonical(text: str) -> None:
    with pytest.raises(second_verifier.NotCanonical):
        second_verifier.canonical(text)


@given(st.integers())
def test_integers_that_json_cannot_hold_exactly_become_texts(value: int) -> None:
    back = json.loads(canonical(value))
    assert back == (value if abs(value) < 2**53 else str(value))


# --- digests -------------------------------------------------------------------------------

REQUEST = st.dictionaries(st.text(), JSON, max_size=4)


def same(one: Any, two: Any) -> bool:
    """Equal, and of the same JSON types: 1, 1.0 and true are three things."""
    if type(one) is not type(two):
        return False
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[k], two[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, float):
        return one == two and math.copysign(1, one) == math.copysign(1, two)
    return bool(one == two)


@given(REQUEST, REQUEST)
def test_digests_are_equal_exactly_for_the_same_request(
    one: dict[str, Any], two: dict[str, Any]
) -> None:
    equal = digest_of(Surface.SQL, "shop", one) == digest_of(Surface.SQL, "shop", two)
    assert equal == same(one, two)


@given(REQUEST)
def test_the_order_of_members_does_not_count(request: dict[str, Any]) -> None:
    turned = dict(reversed(list(request.items())))
    assert digest_of(Surface.SQL, "s", request) == digest_of(Surface.SQL, "s", turned)


@given(st.text(), st.text(), REQUEST)
def test_surface_and_tool_are_part_of_the_digest(
    one: str, two: str, request: dict[str, Any]
) -> None:
    first = digest_of(Surface.SQL, one, request)
    assert (first == digest_of(Surface.SQL, two, request)) == (one == two)
    assert first != digest_of(Surface.HTTP, one, request)
    assert len(first) == 64


@pytest.mark.parametrize(
    ("one", "two"),
    [(1, "1"), (1, True), (0, None), (2**60, str(2**60)), (1, 1.0), ([], {}), ("", None)],
)
def test_values_of_different_types_never_share_a_digest(one: Any, two: Any) -> None:
    assert digest_of(Surface.SQL, "s", {"p": one}) != digest_of(Surface.SQL, "s", {"p": two})
