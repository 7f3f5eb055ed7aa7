from __future__ import annotations

import pytest

from gateway.upstreams.sql.mysql.difference import Back, back, bare, rekeyed

TEXT = """CREATE TABLE `t` (
  `id` int(11) NOT NULL,
  `a` varchar(9) DEFAULT NULL,
  `b` int(11) DEFAULT 3,
  PRIMARY KEY (`id`),
  KEY `a` (`a`),
  KEY `b` (`b`),
  CONSTRAINT `c` CHECK (`b` > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"""
OLD = bare(TEXT)


def changed(*pairs: tuple[str, str]) -> str:
    text = TEXT
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return bare(text)


def test_indexes_behind_the_first_that_differs_come_again() -> None:
    found = back(OLD, changed(("  KEY `a` (`a`),\n", "")), {})
    assert found == Back(("DROP KEY `b`", "ADD KEY `a` (`a`)", "ADD KEY `b` (`b`)"), (), True)


def test_a_new_column_goes() -> None:
    new = changed(("  `b` int", "  `x` int(11) DEFAULT 5,\n  `b` int"))
    assert back(OLD, new, {}) == Back(("DROP COLUMN `x`",), ("x",), True)


def test_a_column_comes_back_under_its_name_and_in_its_place() -> None:
    new = changed(("  `a` varchar(9) DEFAULT NULL,\n", ""), ("  `b` int(11) DEFAULT 3,", "  `b` "
                  "int(11) DEFAULT 3,\n  `z` varchar(20) DEFAULT NULL,"))  # fmt: skip
    found = back(OLD, new, {"z": "a"})
    assert found is not None
    assert found.lossless
    assert "CHANGE `z` `a` varchar(9) DEFAULT NULL AFTER `id`" in found.clauses


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("varchar(9)", "varchar(8)"),
        ("varchar(9)", "varbinary(9)"),
        ("`b` int(11)", "`b` smallint(6)"),
        ("`b` int(11)", "`b` int(11) unsigned"),
        ("`b` int(11) DEFAULT 3", "`b` int(11) NOT NULL DEFAULT 3"),
        ("  `b` int(11) DEFAULT 3,\n", ""),
        ("  `b` int", "  `x` int(11) NOT NULL,\n  `b` int"),
        ("  `b` int", "  `x` uuid DEFAULT uuid(),\n  `b` int"),
        ("CHARSET=utf8mb4", "CHARSET=latin1"),
    ],
)
def test_what_could_lose_a_value(old: str, new: str) -> None:
    found = back(OLD, changed((old, new)), {})
    assert found is not None
    assert not found.lossless


def test_what_is_not_understood_has_no_way_back() -> None:
    assert back(OLD, changed(("  KEY `b`", "  STRANGE `b`")), {}) is None


def test_a_definition_without_name_and_foreign_keys() -> None:
    text = TEXT.replace(
        "  CONSTRAINT `c`",
        "  CONSTRAINT `f` FOREIGN KEY (`b`) REFERENCES `p` (`id`),\n  CONSTRAINT `c`",
    )
    assert bare(text) == bare(OLD)
    again = ("DROP KEY IF EXISTS `b`", "ADD KEY `b` (`b`)")
    assert rekeyed(text, {"b": ("x",)}) == again
    assert rekeyed(text, {"f": ("b",)}) == again
    assert rekeyed(text, {"f": ("b", "a")}) == ()
