"""One request on its way through a surface."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import NotFound, Unauthenticated
from gateway.model import Json, Subject
from gateway.surfaces.arguments import Query

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(slots=True, kw_only=True)
class Visit:
    """``who`` is ``None`` on the open endpoints. The handler notes the rest, so that a failure is
    reported truly: ``call`` is known, something ``began`` whose end an unforeseen failure hides,
    ``doubt``: so does a store that fails (the walk promises otherwise, the walk back does not)."""

    request: Request
    query: Query = field(default_factory=lambda: Query((), ()))
    who: Subject | None = None
    admin: bool = False
    call: str | None = None
    began: bool = False
    doubt: bool = False

    @property
    def subject(self) -> Subject:
        if self.who is None:
            raise Unauthenticated("A token is needed here.")
        return self.who

    def id(self, name: str = "id") -> str:
        """The id in the path; one that cannot be an id does not exist."""
        value = str(self.request.path_params[name])
        if _ID.fullmatch(value) is None:
            raise NotFound("There is nothing with this id.")
        return value

    def sees(self, owner: str) -> bool:
        """Whether what belongs to ``owner`` may be shown."""
        return self.admin or self.subject.id == owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What a request asks for, read and checked but not done. The admin's acts are recorded as
    ``admin.<what>`` with ``about`` before ``run`` is called."""

    what: str
    about: Mapping[str, Json] = field(default_factory=dict)
    run: Callable[[], Awaitable[Response]]
