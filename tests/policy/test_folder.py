"""The policy folder is read strictly and written whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import PolicyInvalid
from gateway.policy.folder import Files, check_file, parse_data, parse_json, read_folder, write_file

BAD_YAML = [
    ("a: 1\na: 2", 2, "twice"),
    ("a:\n  b: 1\n  b: 2", 3, "twice"),
    ("1: x", 1, "key"),
    ("true: x", 1, "key"),
    ("null: x", 1, "key"),
    ("[a]: x", 1, "key"),
    ("a: yes", 1, "quote"),
    ("a: No", 1, "quote"),
    ("a: on", 1, "quote"),
    ("y: 1", 1, "quote"),
    ("a: TRUE", 1, "quote"),
    ("a: 010", 1, "quote"),
    ("a: 0x1f", 1, "quote"),
    ("a: 0o17", 1, "quote"),
    ("a: 1_000", 1, "quote"),
    ("a: 12:30", 1, "quote"),
    ("a: 1e3", 1, "quote"),
    ("a: 2.0", 1, "quote"),
    ("a: .5", 1, "quote"),
    ("a: .nan", 1, "quote"),
    ("a: -.inf", 1, "quote"),
    ("a: 2026-01-01", 1, "quote"),
    ("a: 123456789012345678901", 1, "quote"),
    ("a: &x 1\nb: *x", 1, "alias"),
    ("a: {<<: {b: 1}}", 1, "quote"),
    ("a: !!str 5", 1, "tags"),
    ("a: !thing 5", 1, "tags"),
    ("- a", 1, "mapping"),
    ("a", 1, "mapping"),
    ("a: [1", 1, ""),
    ("a: 1\n---\nb: 2", 2, ""),
    ('a: "x\\0y"', 1, "NUL"),
    ("a: " + "[" * 100 + "]" * 100, 1, "deep"),
]


@pytest.mark.parametrize(("text", "line", "message"), BAD_YAML)
def test_unclear_data_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        parse_data(text)
    (fault,) = caught.value.extra["faults"]
    assert fault["file"] == "data.yaml"
    assert message in fault["message"]
    assert fault["line"] >= line


def test_clear_data_is_read() -> None:
    text = "a: 1\nb: [x, '*', \"yes\", -2, 0.25, true, false, null]\nc: {d: main.orders, e: }\n"
    assert parse_data(text) == {
        "a": 1,
        "b": ["x", "*", "yes", -2, 0.25, True, False, None],
        "c": {"d": "main.orders", "e": None},
    }
    assert parse_data("# nothing\n") == {}


@pytest.mark.parametrize(
    "text",
    ['{"a":1,"a":2}', "[1]", "{", '{"a":NaN}', '{"a":1e3}', '{"a":2.0}', '{"a":' + "9" * 30 + "}"],
)
def test_unclear_json_data_is_refused(text: str) -> None:
    with pytest.raises(PolicyInvalid):
        parse_json(text)


def test_clear_json_data_is_read() -> None:
    assert parse_json('{"a": [1, 0.5, "x", null, true]}') == {"a": [1, 0.5, "x", None, True]}


def _folder(path: Path, **files: str) -> Path:
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


def test_a_folder_is_read(tmp_path: Path) -> None:
    _folder(tmp_path, a__rego="package a", data__yaml="x: 1", README__md="hello")
    (tmp_path / ".hidden.rego").write_text("not read")
    files = read_folder(tmp_path)
    assert sorted(files.texts) == ["a.rego", "data.yaml"]
    assert files.data() == {"x": 1}


@pytest.mark.parametrize("name", ["A.rego", "a-b.rego", "data.yml", "é.rego"])
def test_a_file_that_only_opa_would_load_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("package a")
    with pytest.raises(PolicyInvalid):
        read_folder(tmp_path)


def test_a_folder_inside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    with pytest.raises(PolicyInvalid):
        read_folder(tmp_path)


def test_two_data_documents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid):
        read_folder(_folder(tmp_path, data__yaml="x: 1", data__json="{}"))


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid):
        read_folder(tmp_path / "gone")


def test_bytes_that_are_not_text_and_huge_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rego").write_bytes(b"\xff")
    (tmp_path / "b.rego").write_bytes(b"#" * (256 * 1024 + 1))
    with pytest.raises(PolicyInvalid) as caught:
        read_folder(tmp_path)
    assert [fault["file"] for fault in caught.value.extra["faults"]] == ["a.rego", "b.rego"]


@pytest.mark.parametrize(
    "name", ["", "../a.rego", "a/b.rego", "/etc/x.rego", "A.rego", "data.json", "a.rego\n", "a.txt"]
)
def test_a_name_outside_the_folder_is_refused(name: str) -> None:
    with pytest.raises(PolicyInvalid):
        check_file(name, "package a")


def test_a_written_file_replaces_the_old_one_and_leaves_nothing_beside(tmp_path: Path) -> None:
    write_file(tmp_path, "a.rego", "one")
    write_file(tmp_path, "a.rego", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["a.rego"]
    assert (tmp_path / "a.rego").read_text() == "two"


def test_the_revision_names_the_texts_and_nothing_else() -> None:
    one = Files(texts={"a.rego": "x", "b.rego": "y"})
    assert one.revision == Files(texts={"b.rego": "y", "a.rego": "x"}).revision
    assert one.revision != Files(texts={"a.rego": "y", "b.rego": "x"}).revision
    assert one.revision != Files(texts={"a.regob.rego": "xy"}).revision
