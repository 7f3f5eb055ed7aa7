"""The admin endpoints of a running gateway."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import httpx

from gateway.config import ADMIN_TOKEN, ClientSettings
from gateway.model import Json

PAGE = 1000
_TIMEOUT_S = 90.0  # a freeze that drains takes its time


class Usage(Exception):
    """The command cannot be carried out as it was given: exit code 2."""


class Failed(Exception):
    """Refused or failed: exit code 1. ``problem`` is the gateway's document, if it sent one."""

    def __init__(self, detail: str, problem: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``text`` is the body as it came."""

    status: int
    text: str
    body: Json

    def items(self, name: str) -> list[Mapping[str, Json]]:
        """The list that the body holds under ``name``."""
        found = self.body.get(name) if isinstance(self.body, dict) else self.body
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise Failed(f"The gateway's answer has no list {name!r}.")
        return found

    @property
    def next(self) -> str | None:
        """The cursor of the next page."""
        cursor = self.body.get("cursor") if isinstance(self.body, dict) else None
        return cursor if isinstance(cursor, str) else None


class Remote:
    def __init__(
        self, settings: ClientSettings, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._url = settings.url
        token = settings.admin_token.get_secret_value() if settings.admin_token else ""
        if not token:
            raise Usage(f"Set {ADMIN_TOKEN} to the gateway's admin token.")
        if not _usable(settings.url) or not token.isascii() or not token.isprintable():
            raise Usage("HOLDFAST_URL must be http://HOST or https://HOST, the token plain text.")
        # Neither proxies nor .netrc of the environment: the token goes to this URL only.
        self._client = httpx.Client(
            base_url=settings.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
            transport=transport,
            trust_env=False,
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **query: str | int | None) -> Answer:
        given = {name: value for name, value in query.items() if value is not None}
        return self._send(lambda: self._client.get(path, params=given))

    def post(self, path: str, body: Mapping[str, Json], *, early: bool = False) -> Answer:
        """``early``: the gateway may answer while it still works."""
        headers = {"Prefer": "respond-async"} if early else {}
        return self._send(lambda: self._client.post(path, json=body, headers=headers))

    def delete(self, path: str) -> Answer:
        return self._send(lambda: self._client.delete(path))

    def pages(self, path: str, name: str, **query: str | int | None) -> Iterator[Json]:
        """Every item of a paged list."""
        cursor: str | None = None
        while True:
            answer = self.get(path, **query, cursor=cursor)
            yield from answer.items(name)
            cursor = answer.next
            if cursor is None:
                return

    def audit(self, after: int = 0) -> Iterator[Mapping[str, Json]]:
        """Every audit entry with ``seq > after``."""
        while True:
            page = self.get("/admin/audit", after=after, limit=PAGE).items("entries")
            yield from page
            # Reading is audited too, so there is always one more: a short page ends it.
            if len(page) < PAGE:
                return
            after = page[-1]["seq"]

    def _send(self, send: Callable[[], httpx.Response]) -> Answer:
        try:
            response = send()
        except httpx.TimeoutException:
            raise Failed(f"The gateway at {self._url} did not answer in time.") from None
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise Failed(f"The gateway at {self._url} cannot be reached: {why}") from None
        return _answer(response)


def _usable(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in ("http", "https") and bool(parsed.host)


def _answer(response: httpx.Response) -> Answer:
    try:
        body = json.loads(response.text) if response.content else None
    except ValueError:
        raise Failed(
            f"The gateway answered {response.status_code} without JSON: is this Holdfast?"
        ) from None
    if response.is_success:
        return Answer(status=response.status_code, text=response.text, body=body)
    raise Failed(_sentence(response.status_code, body), response.text)


def _sentence(status: int, problem: Json) -> str:
    if not isinstance(problem, dict) or "reason" not in problem:
        return f"The gateway answered {status}."
    said = f"{problem['reason']}: {problem.get('detail') or problem.get('title') or ''}"
    call = problem.get("call")
    return f"{said} (call {call})" if call else said
