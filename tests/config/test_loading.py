from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import load, parse
from gateway.config.loading import secret_paths
from gateway.errors import ConfigInvalid

ENVIRON = {
    "ADMIN": "adm-3f9c1e7a5b2d4860",
    "AGENT": "agt-3f9c1e7a5b2d4860",
    "THIRD": "thd-3f9c1e7a5b2d4860",
    "SHORT": "f3a9c",
    "PLAIN": "Secret-API-Key",
    "EMPTY": "",
    "PORT": "9000",
}
CASES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[1] / "fixtures/config_faults.yaml").read_text("utf-8")
)
LEAST = 'identity: {admin_token: "${ADMIN}"}\n'


def faults_of(text: str, environ: dict[str, str] = ENVIRON) -> list[dict[str, Any]]:
    with pytest.raises(ConfigInvalid) as caught:
        parse(text, environ, file="c.yaml")
    found: list[dict[str, Any]] = caught.value.extra["faults"]
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].replace(" ", "-"))
def test_every_fault_is_listed_with_its_line(case: dict[str, Any]) -> None:
    found = faults_of(case["text"])
    assert [fault["line"] for fault in found] == [line for line, _ in case["faults"]]
    for fault, (_, part) in zip(found, case["faults"], strict=True):
        assert part in fault["message"]
        assert fault["file"] == "c.yaml"


def test_the_reason_is_that_of_the_contract() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse("server: 1\n", {}, file="c.yaml")
    assert caught.value.reason == "config.invalid"
    assert caught.value.detail == "The configuration c.yaml has 2 faults."


def test_no_fault_shows_a_secret() -> None:
    secret = "hunter2-hunter2-hunter2"
    text = (
        f"identity:\n  admin_token: {secret}\n  agents: [{{name: a, token: '${{T}}'}}]\n"
        f"sources:\n  app: {{url: 'oracle://u:{secret}@db', capture_url: 'x://{secret}'}}\n"
    )
    with pytest.raises(ConfigInvalid) as caught:
        parse(text, {"T": secret[:10]})
    assert secret not in str(caught.value.extra)
    assert secret[:10] not in str(caught.value.extra)
    assert caught.value.__cause__ is None


def test_a_deeply_nested_file_is_refused() -> None:
    assert "nested too deeply" in faults_of("[" * 5000)[0]["message"]


def test_a_variable_may_stand_for_a_number_or_a_truth_value() -> None:
    config = parse(LEAST + 'server: {port: "${PORT}"}\npolicy:\n  watch: ${W:-false}\n', ENVIRON)
    assert config.server.port == 9000
    assert config.policy.watch is False


def test_digits_in_a_variable_stay_text_where_text_is_wanted() -> None:
    config = parse("identity:\n  admin_token: ${T}\n", {"T": "12345678901234567890"})
    assert config.identity.admin_token.get_secret_value() == "12345678901234567890"


def test_a_value_from_the_environment_cannot_become_structure() -> None:
    text = "identity: {admin_token: '${ADMIN}'}\nserver:\n  host: ${H}\n"
    config = parse(text, {**ENVIRON, "H": "a\nport: 1\n# ${ADMIN}"})
    assert config.server.host == "a\nport: 1\n# ${ADMIN}"
    assert config.server.port == 8400


def test_an_unset_or_empty_variable_takes_its_default() -> None:
    text = LEAST + "server: {host: '${H:-localhost}'}\n"
    assert parse(text, ENVIRON).server.host == "localhost"
    assert parse(text, {**ENVIRON, "H": ""}).server.host == "localhost"
    assert parse(text, {**ENVIRON, "H": "::1"}).server.host == "::1"


def test_two_dollars_are_one() -> None:
    assert parse(LEAST + "server: {host: 'a$${B}'}\n", ENVIRON).server.host == "a${B}"


def test_a_blank_capture_url_is_none() -> None:
    text = LEAST + "sources:\n  a: {url: 'postgresql://h/d', capture_url: '${C:-}'}\n"
    assert parse(text, ENVIRON).sources["a"].capture_url is None


def test_the_least_configuration_has_every_default() -> None:
    config = parse(LEAST, ENVIRON)
    assert config.limits.max_rows == 100
    assert config.limits.max_share == 0.2
    assert config.snapshots.retention == timedelta(days=30)
    assert config.sources == {}


def test_secrets_are_not_in_the_repr() -> None:
    text = LEAST + "sources:\n  a: {url: 'postgresql://u:hunter2@h/d'}\n"
    shown = repr(parse(text, ENVIRON))
    assert "hunter2" not in shown
    assert ENVIRON["ADMIN"] not in shown


def test_a_configuration_is_frozen() -> None:
    config = parse(LEAST, ENVIRON)
    with pytest.raises(ValueError, match="frozen"):
        config.server.port = 1  # type: ignore[misc]


def test_the_secret_paths_are_the_tokens() -> None:
    assert set(secret_paths()) == {
        ("identity", "admin_token"),
        ("identity", "agents", "*", "token"),
        ("snapshots", "encryption", "keys", "*", "key"),
    }


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path / "none.yaml", {})
    assert caught.value.extra["faults"] == [
        {
            "file": str(tmp_path / "none.yaml"),
            "line": 1,
            "message": "the file cannot be read: No such file or directory",
        }
    ]


def test_a_folder_is_not_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid):
        load(tmp_path, {})


def test_bytes_that_are_not_utf8_are_a_fault_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(b"identity:\n  admin_token: \xff\n")
    with pytest.raises(ConfigInvalid) as caught:
        load(file, {})
    assert caught.value.extra["faults"][0]["line"] == 2


def test_a_byte_order_mark_is_let_be(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + LEAST.encode())
    assert load(file, ENVIRON).server.port == 8400


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{url: 'sqlite:///a.db', images_schema: holdfast_images}", "PostgreSQL"),
        ("{url: 'postgresql://h/d', images_schema: holdfast_images}", "capture_url"),
        ("{url: 'mysql://h/d', capture_url: 'mysql://h/d', images_schema: holdfast_images}",
         "PostgreSQL"),
        ("{url: 'postgresql://h/d', capture_url: 'postgresql://k@h/d', images_schema: public}",
         "holdfast_images"),
    ],
)  # fmt: skip
def test_a_schema_for_images_needs_a_database_and_a_role_for_it(source: str, said: str) -> None:
    [fault] = faults_of(f"{LEAST}sources:\n  a: {source}\n")
    assert said in str(fault)
