-- Calls, the images that take them back, approvals, revert jobs. Times are UTC texts with
-- microseconds, so that their order is the order of time; JSON is kept as text.

CREATE TABLE calls (
  id TEXT PRIMARY KEY NOT NULL,
  ord INTEGER NOT NULL,
  state TEXT NOT NULL,
  generation INTEGER NOT NULL,
  agent TEXT NOT NULL,
  session TEXT NOT NULL,
  roles TEXT NOT NULL,
  delegation TEXT NOT NULL,
  surface TEXT NOT NULL,
  tool TEXT NOT NULL,
  request TEXT NOT NULL,
  digest TEXT NOT NULL,
  received_at TEXT NOT NULL,
  idempotency_key TEXT,
  reason TEXT,
  dry_run INTEGER NOT NULL,
  reverts TEXT NOT NULL,
  effect TEXT NOT NULL,
  action TEXT,
  reach TEXT,
  decision TEXT,
  revision TEXT,
  approval TEXT,
  measured TEXT,
  receipt TEXT,
  permitted INTEGER NOT NULL,
  snapshot TEXT,
  undo_reversibility TEXT NOT NULL,
  undo_expires_at TEXT,
  undo_deleted INTEGER NOT NULL,
  outcome TEXT,
  reverted_by TEXT,
  lease_until TEXT,
  updated_at TEXT NOT NULL
) STRICT;

-- A refused call does not use up its key.
CREATE UNIQUE INDEX calls_by_key ON calls (agent, idempotency_key)
  WHERE idempotency_key IS NOT NULL AND state <> 'denied';
CREATE UNIQUE INDEX calls_in_order ON calls (ord);
CREATE INDEX calls_by_session ON calls (session, ord);
CREATE INDEX calls_by_agent ON calls (agent, ord);
CREATE INDEX calls_unsettled ON calls (ord)
  WHERE state IN ('intent', 'executing', 'reverting', 'unknown');

CREATE TRIGGER settled_states_never_change
  BEFORE UPDATE OF state, effect, outcome, generation ON calls
  WHEN OLD.state IN ('denied', 'succeeded', 'failed', 'reverted', 'conflict')
BEGIN
  SELECT RAISE(ABORT, 'a settled call does not change');
END;

CREATE TRIGGER calls_are_kept BEFORE DELETE ON calls
BEGIN
  SELECT RAISE(ABORT, 'calls are kept');
END;

CREATE TABLE snapshots (
  id TEXT PRIMARY KEY NOT NULL,
  ord INTEGER NOT NULL,
  call TEXT NOT NULL REFERENCES calls (id),
  upstream TEXT NOT NULL,
  kind TEXT NOT NULL,
  reversibility TEXT NOT NULL,
  manifest TEXT NOT NULL,
  size INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  image BLOB,
  file TEXT,
  created_at TEXT NOT NULL,
  expires_at TEXT,
  deleted_at TEXT
) STRICT;

CREATE UNIQUE INDEX snapshots_in_order ON snapshots (ord);
CREATE INDEX snapshots_by_call ON snapshots (call);
CREATE INDEX snapshots_due ON snapshots (expires_at) WHERE deleted_at IS NULL;

CREATE TABLE approvals (
  id TEXT PRIMARY KEY NOT NULL,
  call TEXT NOT NULL REFERENCES calls (id),
  digest TEXT NOT NULL,
  revision TEXT NOT NULL,
  reasons TEXT NOT NULL,
  obligations TEXT NOT NULL,
  state TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  decided_by TEXT,
  note TEXT
) STRICT;

CREATE INDEX approvals_waiting ON approvals (created_at) WHERE state = 'waiting';

CREATE TABLE reverts (
  id TEXT PRIMARY KEY NOT NULL,
  target TEXT NOT NULL,
  on_conflict TEXT NOT NULL,
  plan INTEGER NOT NULL,
  reason TEXT,
  requested_by TEXT NOT NULL,
  state TEXT NOT NULL,
  steps TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;

CREATE INDEX reverts_running ON reverts (id) WHERE state = 'running';
