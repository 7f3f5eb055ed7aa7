from __future__ import annotations

from gateway.config import ADMIN_TOKEN, AGENT_TOKEN, ClientSettings, with_tokens


def test_tokens_are_made_up_where_they_are_missing() -> None:
    run = with_tokens({"OTHER": "kept", AGENT_TOKEN: "mine"})
    assert run.made == (ADMIN_TOKEN,)
    assert run.environ[AGENT_TOKEN] == "mine"
    assert run.environ["OTHER"] == "kept"
    assert len(run.environ[ADMIN_TOKEN]) >= 40


def test_every_run_has_its_own_tokens() -> None:
    assert with_tokens({}).environ[ADMIN_TOKEN] != with_tokens({}).environ[ADMIN_TOKEN]
    made = with_tokens({}).environ
    assert made[ADMIN_TOKEN] != made[AGENT_TOKEN]


def test_the_client_has_a_default_address_and_no_default_token() -> None:
    settings = ClientSettings.read({})
    assert settings.url == "http://127.0.0.1:8400"
    assert settings.admin_token is None


def test_the_client_reads_its_variables() -> None:
    settings = ClientSettings.read({"HOLDFAST_URL": "https://gate/", ADMIN_TOKEN: "s3cret"})
    assert settings.url == "https://gate"
    assert settings.admin_token is not None
    assert "s3cret" not in repr(settings)
