"""The seam of measuring: whoever does something says so, whoever counts it stands elsewhere."""

from __future__ import annotations

from typing import Protocol

from gateway.model import RevertJob


class Meter(Protocol):
    """Every method is quick and never fails."""

    def called(
        self, surface: str, tool: str, state: str, reason: str | None, seconds: float
    ) -> None:
        """A call was answered."""
        ...

    def wrote(self, seconds: float) -> None:
        """A move became durable, or failed to."""
        ...

    def kept(self, upstream: str, size: int) -> None:
        """Images of a call became durable; ``size`` before they were packed."""
        ...

    def reverted(self, job: RevertJob) -> None:
        """A revert has ended."""
        ...


class NoMeter:
    """Counts nothing."""

    def called(
        self, surface: str, tool: str, state: str, reason: str | None, seconds: float
    ) -> None:
        pass

    def wrote(self, seconds: float) -> None:
        pass

    def kept(self, upstream: str, size: int) -> None:
        pass

    def reverted(self, job: RevertJob) -> None:
        pass
