-- The chain. Whoever owns the file can still write it anew: checkpoints kept elsewhere show that.
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY NOT NULL,
  hash TEXT NOT NULL,
  body TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_is_never_cut BEFORE DELETE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- One row, written to prove that writing is possible.
CREATE TABLE heartbeat (
  id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
  at TEXT NOT NULL
) STRICT;
