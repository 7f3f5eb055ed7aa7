CREATE TABLE freezes (
  id TEXT PRIMARY KEY NOT NULL,
  epoch INTEGER NOT NULL,
  scope TEXT NOT NULL,
  reason TEXT NOT NULL,
  starts_at TEXT NOT NULL,
  ends_at TEXT,
  origin TEXT NOT NULL,
  created_by TEXT NOT NULL,
  lifted_at TEXT
) STRICT;

CREATE UNIQUE INDEX freezes_by_epoch ON freezes (epoch);
CREATE INDEX freezes_standing ON freezes (epoch) WHERE lifted_at IS NULL;

CREATE TABLE agents (
  name TEXT NOT NULL,
  roles TEXT NOT NULL,
  token_sha256 TEXT NOT NULL,
  created_at TEXT NOT NULL,
  revoked_at TEXT
) STRICT;

CREATE UNIQUE INDEX agents_by_name ON agents (name) WHERE revoked_at IS NULL;
CREATE UNIQUE INDEX agents_by_token ON agents (token_sha256) WHERE revoked_at IS NULL;
