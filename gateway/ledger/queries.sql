-- name: call
SELECT record FROM calls WHERE id = :id;
-- name: call_by_key
SELECT record FROM calls
WHERE subject = :subject AND idempotency_key = :key AND state <> 'denied';
-- name: put_call
INSERT INTO calls
    (id, subject, session, tool, state, idempotency_key, is_revert, received_at, lease_until, record)
VALUES
    (:id, :subject, :session, :tool, :state, :key, :is_revert, :received_at, :lease_until, :record)
ON CONFLICT (id) DO UPDATE SET
    state = excluded.state, lease_until = excluded.lease_until, record = excluded.record;
-- name: open_calls
SELECT record FROM calls WHERE state IN ('intent', 'executing', 'reverting', 'unknown') ORDER BY id;
-- name: calls
SELECT record FROM calls
WHERE (:session IS NULL OR session = :session)
  AND (:agent IS NULL OR subject = :agent)
  AND (:since IS NULL OR received_at >= :since)
  AND (:until IS NULL OR received_at < :until)
  AND (:tool IS NULL OR tool = :tool)
  AND (:is_revert IS NULL OR is_revert = :is_revert)
  AND (:states = '[]' OR state IN (SELECT value FROM json_each(:states)))
  AND (:cursor IS NULL OR id < :cursor)
ORDER BY id DESC LIMIT :limit;
-- name: head
SELECT seq, hash, body FROM audit ORDER BY seq DESC LIMIT 1;
-- name: append
INSERT INTO audit (seq, hash, body) VALUES (:seq, :hash, :body);
-- name: entries
SELECT seq, hash, body FROM audit WHERE seq > :after ORDER BY seq LIMIT :limit;
-- name: freezes
SELECT record FROM freezes WHERE lifted = 0 OR :lifted ORDER BY id DESC;
-- name: freeze
SELECT record FROM freezes WHERE id = :id;
-- name: freeze_count
SELECT count(*) FROM freezes;
-- name: put_freeze
INSERT INTO freezes (id, lifted, record) VALUES (:id, :lifted, :record)
ON CONFLICT (id) DO UPDATE SET lifted = excluded.lifted, record = excluded.record;
-- name: approval
SELECT record FROM approvals WHERE id = :id;
-- name: approvals
SELECT record FROM approvals WHERE state = 'waiting' OR NOT :waiting ORDER BY id;
-- name: put_approval
INSERT INTO approvals (id, call, state, record) VALUES (:id, :call, :state, :record)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, record = excluded.record;
-- name: approval_of
SELECT record FROM approvals WHERE call = :call;
-- name: put_snapshot
INSERT INTO snapshots (id, call, expires_at, deleted, file, info, undo, image)
VALUES (:id, :call, :expires_at, :deleted, :file, :info, :undo, :image)
ON CONFLICT (id) DO UPDATE SET
    deleted = excluded.deleted, file = excluded.file, info = excluded.info, image = excluded.image;
-- name: snapshot
SELECT info, undo, file, image FROM snapshots WHERE id = :id;
-- name: snapshot_of
SELECT info, undo, file, image FROM snapshots WHERE call = :call;
-- name: snapshots
SELECT info FROM snapshots
WHERE (:call IS NULL OR call = :call) AND (:cursor IS NULL OR id < :cursor)
ORDER BY id DESC LIMIT :limit;
-- name: snapshots_due
SELECT id FROM snapshots WHERE deleted = 0 AND expires_at IS NOT NULL AND expires_at <= :now;
-- name: snapshot_files
SELECT file FROM snapshots WHERE file IS NOT NULL;
-- name: put_revert
INSERT INTO reverts (id, state, record) VALUES (:id, :state, :record)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, record = excluded.record;
-- name: revert
SELECT record FROM reverts WHERE id = :id;
-- name: unfinished_reverts
SELECT record FROM reverts WHERE state = 'running' ORDER BY id;
-- name: put_agent
INSERT INTO agents (name, token_sha256, record) VALUES (:name, :token_sha256, :record)
ON CONFLICT (name) DO UPDATE SET
    token_sha256 = excluded.token_sha256, record = excluded.record;
-- name: agent
SELECT record FROM agents WHERE name = :name;
-- name: agents
SELECT record FROM agents ORDER BY name;
-- name: agent_by_token
SELECT record FROM agents WHERE token_sha256 = :token_sha256;
-- name: beat
INSERT INTO heartbeat (one, at) VALUES (1, :at) ON CONFLICT (one) DO UPDATE SET at = excluded.at;
