-- What a call leaves behind. Columns are what is searched; "record" is the whole row as JSON.
CREATE TABLE calls (
    id TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    session TEXT NOT NULL,
    tool TEXT NOT NULL,
    state TEXT NOT NULL,
    idempotency_key TEXT,
    is_revert INTEGER NOT NULL,
    received_at TEXT NOT NULL,
    lease_until TEXT,
    record TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX calls_key ON calls (subject, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND state <> 'denied';
CREATE INDEX calls_session ON calls (session, id);
CREATE INDEX calls_subject ON calls (subject, id);
CREATE INDEX calls_open ON calls (state) WHERE state IN ('intent', 'executing', 'reverting', 'unknown');

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    hash TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE freezes (
    id TEXT PRIMARY KEY,
    lifted INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;

CREATE TABLE approvals (
    id TEXT PRIMARY KEY,
    call TEXT NOT NULL,
    state TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT;
CREATE INDEX approvals_state ON approvals (state);

-- "image" is zstd; it is null when the image lies in a file of the image folder, or is deleted.
CREATE TABLE snapshots (
    id TEXT PRIMARY KEY,
    call TEXT NOT NULL UNIQUE,
    expires_at TEXT,
    deleted INTEGER NOT NULL,
    file TEXT,
    info TEXT NOT NULL,
    undo TEXT NOT NULL,
    image BLOB
) STRICT;
CREATE INDEX snapshots_due ON snapshots (expires_at) WHERE deleted = 0 AND expires_at IS NOT NULL;

CREATE TABLE reverts (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT;

CREATE TABLE agents (
    name TEXT PRIMARY KEY,
    token_sha256 TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT;
CREATE INDEX agents_token ON agents (token_sha256);

CREATE TABLE heartbeat (one INTEGER PRIMARY KEY CHECK (one = 1), at TEXT NOT NULL) STRICT;
