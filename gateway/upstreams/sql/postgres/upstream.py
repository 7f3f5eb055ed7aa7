"""One PostgreSQL database as a protected source."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import psycopg

from gateway.errors import UpstreamError
from gateway.interfaces import Clock, Probe, no_probe
from gateway.model import (
    Action,
    Call,
    Deny,
    EffectState,
    Finding,
    Json,
    OnConflict,
    Resource,
    Reversibility,
    SqlAction,
    Undo,
)
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres import checks, landing
from gateway.upstreams.sql.postgres.attempt import Job, PostgresAttempt, Surroundings, parameters
from gateway.upstreams.sql.postgres.failures import upstream_error
from gateway.upstreams.sql.postgres.images import decode, shown
from gateway.upstreams.sql.postgres.judge import Grammar, Judge, Judged
from gateway.upstreams.sql.postgres.results import TypeNames
from gateway.upstreams.sql.postgres.session import Pool, Session, Timeouts
from gateway.upstreams.sql.postgres.unwind import PostgresUnwinding, Seat

_AGENTS = 8  # connections of the agents' role; as many of the capture role
_REVERTS = 2
_CAPTURE_LOCK_S = 1.5
_THINKING_S = 60.0  # how long a transaction may wait for policy and store
