"""Settings of images."""

from __future__ import annotations

import base64
import os

import pytest

from gateway.config import Config, parse
from gateway.errors import ConfigInvalid

KEY = base64.b64encode(bytes(range(32))).decode()
ENVIRON = {
    "HOLDFAST_ADMIN_TOKEN": "an-admin-token-1",
    "K": KEY,
    "URLSAFE": base64.urlsafe_b64encode(b"\xfb\xff" * 8 + os.urandom(16)).decode(),
    "SHORT": base64.b64encode(os.urandom(16)).decode(),
    "ZERO": base64.b64encode(bytes(32)).decode(),
    "TEXT": "correct horse battery staple",
    "EMPTY": "",
}


def config(snapshots: str) -> Config:
    text = f'identity: {{admin_token: "${{HOLDFAST_ADMIN_TOKEN}}"}}\nsnapshots: {snapshots}\n'
    return parse(text, ENVIRON)


def faults(snapshots: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        config(snapshots)
    return [fault["message"] for fault in caught.value.extra["faults"]]


def test_without_keys_nothing_is_encrypted() -> None:
    settings = config("{}").snapshots
    assert settings.encryption.keys == ()
    assert settings.encryption.active_id is None


@pytest.mark.parametrize(("active", "expected"), [("null", "new"), ("old", "old")])
def test_the_first_key_is_active_unless_another_is_named(active: str, expected: str) -> None:
    keys = '[{id: new, key: "${K}"}, {id: old, key: "${URLSAFE}"}]'
    found = config(f"{{encryption: {{keys: {keys}, active: {active}}}}}").snapshots.encryption
    assert found.active_id == expected


@pytest.mark.parametrize("name", ["SHORT", "ZERO", "TEXT", "EMPTY"])
def test_a_key_is_32_random_bytes(name: str) -> None:
    [fault] = faults(f'{{encryption: {{keys: [{{id: k, key: "${{{name}}}"}}]}}}}')
    assert "32 random bytes in base64" in fault
    assert not ENVIRON[name] or ENVIRON[name] not in fault


def test_a_key_comes_from_the_environment_only() -> None:
    [fault] = faults(f"{{encryption: {{keys: [{{id: k, key: {KEY}}}]}}}}")
    assert "must come from the environment" in fault
    assert KEY not in fault


def test_no_key_is_shown() -> None:
    found = config('{encryption: {keys: [{id: k, key: "${K}"}]}}')
    assert KEY not in repr(found)
    assert KEY not in str(found.model_dump_json())


@pytest.mark.parametrize(
    ("encryption", "said"),
    [
        ('{keys: [{id: k, key: "${K}"}, {id: k, key: "${URLSAFE}"}]}', "given twice"),
        ('{keys: [{id: k, key: "${K}"}], active: other}', "there is no key 'other'"),
        ("{active: k}", "there is no key 'k'"),
    ],
)
def test_keys_are_told_apart_by_name(encryption: str, said: str) -> None:
    [fault] = faults(f"{{encryption: {encryption}}}")
    assert said in fault


@pytest.mark.parametrize("url", ["s3://bucket", "gs://bucket/a/b", "az://container/p"])
def test_an_object_store_is_named_by_its_bucket(url: str) -> None:
    assert config(f"{{url: {url!r}}}").snapshots.url == url


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "http://bucket/p",
        "/var/x",
        "s3://id:secret@bucket",
        "s3://b?region=x",
        "s3://b/../c",
    ],
)
def test_another_url_is_no_object_store(url: str) -> None:
    [fault] = faults(f"{{url: {url!r}}}")
    assert "secret" not in fault


@pytest.mark.parametrize("pattern", ["*.email", "customers.email", "main.customers.*", "a.b"])
def test_columns_to_redact(pattern: str) -> None:
    assert config(f"{{redact: [{pattern!r}]}}").snapshots.redact == (pattern,)


@pytest.mark.parametrize("pattern", ["email", "a.b.c.d", "a b.c", "", ".x"])
def test_what_names_no_column_is_a_fault(pattern: str) -> None:
    assert len(faults(f"{{redact: [{pattern!r}]}}")) == 1
