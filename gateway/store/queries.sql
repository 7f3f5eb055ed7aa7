-- Every statement of the SQLite store, by name. Columns stand in the order of rows.py.

-- name: call
SELECT
  id, ord, state, generation, agent, session, roles, delegation, surface, tool, request,
  digest, received_at, idempotency_key, reason, dry_run, reverts, effect, action, reach,
  decision, revision, approval, measured, receipt, permitted, snapshot, undo_reversibility,
  undo_expires_at, undo_deleted, outcome, reverted_by, lease_until, updated_at
FROM calls
WHERE id = :id;

-- name: head
SELECT
  id, state, generation, agent, session, surface, tool, digest, reverts, effect, reach,
  revision, approval, permitted, snapshot, undo_reversibility, undo_expires_at, undo_deleted,
  reverted_by, lease_until, updated_at
FROM calls
WHERE id = :id;

-- name: key_holder
SELECT id FROM calls
WHERE agent = :agent AND idempotency_key = :key AND idempotency_key IS NOT NULL
  AND state <> 'denied';

-- name: calls
SELECT
  id, ord, state, generation, agent, session, roles, delegation, surface, tool, request,
  digest, received_at, idempotency_key, reason, dry_run, reverts, effect, action, reach,
  decision, revision, approval, measured, receipt, permitted, snapshot, undo_reversibility,
  undo_expires_at, undo_deleted, outcome, reverted_by, lease_until, updated_at
FROM calls
WHERE (:session IS NULL OR session = :session)
  AND (:agent IS NULL OR agent = :agent)
  AND (:since IS NULL OR received_at >= :since)
  AND (:until IS NULL OR received_at < :until)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
  AND (:tool IS NULL OR tool = :tool)
  AND (:reverts IS NULL OR (reverts <> '[]') = :reverts)
  AND (:before IS NULL OR ord < :before)
ORDER BY ord DESC
LIMIT :limit;

-- name: calls_of_session
-- By its own index: the planner cannot see past an OR.
SELECT
  id, ord, state, generation, agent, session, roles, delegation, surface, tool, request,
  digest, received_at, idempotency_key, reason, dry_run, reverts, effect, action, reach,
  decision, revision, approval, measured, receipt, permitted, snapshot, undo_reversibility,
  undo_expires_at, undo_deleted, outcome, reverted_by, lease_until, updated_at
FROM calls
WHERE session = :session
  AND (:agent IS NULL OR agent = :agent)
  AND (:since IS NULL OR received_at >= :since)
  AND (:until IS NULL OR received_at < :until)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
  AND (:tool IS NULL OR tool = :tool)
  AND (:reverts IS NULL OR (reverts <> '[]') = :reverts)
  AND (:before IS NULL OR ord < :before)
ORDER BY ord DESC
LIMIT :limit;

-- name: calls_of_agent
SELECT
  id, ord, state, generation, agent, session, roles, delegation, surface, tool, request,
  digest, received_at, idempotency_key, reason, dry_run, reverts, effect, action, reach,
  decision, revision, approval, measured, receipt, permitted, snapshot, undo_reversibility,
  undo_expires_at, undo_deleted, outcome, reverted_by, lease_until, updated_at
FROM calls
WHERE agent = :agent
  AND (:since IS NULL OR received_at >= :since)
  AND (:until IS NULL OR received_at < :until)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
  AND (:tool IS NULL OR tool = :tool)
  AND (:reverts IS NULL OR (reverts <> '[]') = :reverts)
  AND (:before IS NULL OR ord < :before)
ORDER BY ord DESC
LIMIT :limit;

-- name: twin
SELECT
  id, state, generation, agent, session, surface, tool, digest, reverts, effect, reach,
  revision, approval, permitted, snapshot, undo_reversibility, undo_expires_at, undo_deleted,
  reverted_by, lease_until, updated_at
FROM calls
WHERE agent = :agent AND digest = :digest AND received_at >= :since
  AND state IN ('intent', 'executing', 'unknown')
ORDER BY ord DESC
LIMIT 1;

-- name: misses
SELECT COUNT(*) FROM calls
WHERE agent = :agent AND digest = :digest AND received_at >= :since
  AND state IN ('denied', 'failed')
  AND json_extract(outcome, '$.refusal.reason') NOT IN (SELECT value FROM json_each(:spared));

-- name: under_way
SELECT COUNT(*) FROM calls
WHERE agent = :agent AND digest = :digest AND received_at >= :since
  AND state IN ('intent', 'executing');

-- name: since_newest
-- When the :n-th newest call of an agent came in.
SELECT received_at FROM calls WHERE agent = :agent ORDER BY ord DESC LIMIT 1 OFFSET :n - 1;

-- name: rows_changed
SELECT COALESCE(SUM(json_extract(measured, '$.rows')), 0) FROM calls
WHERE agent = :agent AND received_at >= :since AND permitted = 1
  AND state NOT IN ('failed', 'denied') AND reverts = '[]';

-- name: tallied_of_agent
SELECT
  substr(received_at, 1, 16) AS minute, state, generation > 0 AS begun, dry_run,
  json_extract(action, '$.class') AS cls, COUNT(*) AS calls,
  COALESCE(SUM(CASE WHEN permitted = 1 AND state NOT IN ('failed', 'denied')
    THEN json_extract(measured, '$.rows') END), 0) AS rows
FROM calls
WHERE agent = :agent AND received_at >= :since AND ord > :after
  AND reverts = '[]'
GROUP BY minute, state, begun, dry_run, cls;

-- name: tallied_of_session
SELECT
  substr(received_at, 1, 16) AS minute, state, generation > 0 AS begun, dry_run,
  json_extract(action, '$.class') AS cls, COUNT(*) AS calls,
  COALESCE(SUM(CASE WHEN permitted = 1 AND state NOT IN ('failed', 'denied')
    THEN json_extract(measured, '$.rows') END), 0) AS rows
FROM calls
WHERE session = :session AND agent = :agent AND received_at >= :since AND ord > :after
  AND reverts = '[]'
GROUP BY minute, state, begun, dry_run, cls;

-- name: unsettled
SELECT
  id, state, generation, agent, session, surface, tool, digest, reverts, effect, reach,
  revision, approval, permitted, snapshot, undo_reversibility, undo_expires_at, undo_deleted,
  reverted_by, lease_until, updated_at
FROM calls
WHERE state IN ('intent', 'executing', 'reverting', 'unknown')
ORDER BY ord;

-- name: add_call
INSERT INTO calls (
  id, ord, state, generation, agent, session, roles, delegation, surface, tool, request,
  digest, received_at, idempotency_key, reason, dry_run, reverts, effect, action, reach,
  decision, revision, approval, measured, receipt, permitted, snapshot, undo_reversibility,
  undo_expires_at, undo_deleted, outcome, reverted_by, lease_until, updated_at
) VALUES (
  :id, :ord, :state, :generation, :agent, :session, :roles, :delegation, :surface, :tool,
  :request, :digest, :received_at, :idempotency_key, :reason, :dry_run, :reverts, :effect,
  :action, :reach, :decision, :revision, :approval, :measured, :receipt, :permitted, :snapshot,
  :undo_reversibility, :undo_expires_at, :undo_deleted, :outcome, :reverted_by, :lease_until,
  :updated_at
);

-- name: deny_call
UPDATE calls SET
  state = :state, outcome = :outcome, lease_until = :lease_until, updated_at = :updated_at
WHERE id = :id;

-- name: intend_call
UPDATE calls SET
  state = :state, generation = :generation, action = :action, reach = :reach,
  decision = :decision, revision = :revision, approval = :approval, updated_at = :updated_at
WHERE id = :id;

-- name: begin_call
UPDATE calls SET
  state = :state, lease_until = :lease_until, updated_at = :updated_at
WHERE id = :id;

-- name: permit_call
UPDATE calls SET
  ord = :ord, permitted = :permitted, receipt = :receipt, measured = :measured, reach = :reach,
  snapshot = :snapshot, undo_reversibility = :undo_reversibility,
  undo_expires_at = :undo_expires_at, updated_at = :updated_at
WHERE id = :id;

-- name: settle_call
UPDATE calls SET
  state = :state, effect = :effect, outcome = :outcome, undo_deleted = :undo_deleted,
  updated_at = :updated_at
WHERE id = :id;

-- name: give_up_call
UPDATE calls SET
  state = :state, generation = :generation, outcome = :outcome, updated_at = :updated_at
WHERE id = :id;

-- name: recover_call
UPDATE calls SET
  state = :state, generation = :generation, lease_until = :lease_until,
  updated_at = :updated_at
WHERE id = :id;

-- name: renew_call
UPDATE calls SET
  lease_until = :lease_until
WHERE id = :id;

-- name: claim_call
UPDATE calls SET
  reverted_by = :reverted_by
WHERE id = :id;

-- name: forget_undo
UPDATE calls SET
  undo_deleted = :undo_deleted
WHERE id = :id;

-- name: snapshot
SELECT
  id, ord, call, upstream, kind, reversibility, manifest, size, sha256, image, file,
  created_at, expires_at, deleted_at, seal, packed, spooled, key_id, data_key, erased_at,
  answer
FROM snapshots
WHERE id = :id;

-- name: snapshots
SELECT
  id, ord, call, upstream, kind, reversibility, '{}' AS manifest, size, sha256, NULL AS image,
  file, created_at, expires_at, deleted_at, seal, packed, spooled, key_id, data_key, erased_at,
  NULL AS answer
FROM snapshots
WHERE (:call IS NULL OR call = :call) AND (:before IS NULL OR ord < :before)
ORDER BY ord DESC
LIMIT :limit;

-- name: due_snapshots
SELECT
  id, ord, call, upstream, kind, reversibility, '{}' AS manifest, size, sha256, NULL AS image,
  file, created_at, expires_at, deleted_at, seal, packed, spooled, key_id, data_key, erased_at,
  NULL AS answer
FROM snapshots
WHERE deleted_at IS NULL AND expires_at <= :now
ORDER BY ord;

-- name: files
SELECT file FROM snapshots WHERE file IS NOT NULL;

-- name: keys_in_use
SELECT DISTINCT key_id FROM snapshots WHERE key_id IS NOT NULL AND deleted_at IS NULL;

-- name: count_unsealed
SELECT COUNT(*) FROM snapshots WHERE key_id IS NULL AND deleted_at IS NULL;

-- name: wrapped_snapshots
SELECT
  id, ord, call, upstream, kind, reversibility, '{}' AS manifest, size, sha256, NULL AS image,
  file, created_at, expires_at, deleted_at, seal, packed, spooled, key_id, data_key, erased_at,
  NULL AS answer
FROM snapshots
WHERE key_id IS NOT NULL AND key_id <> :active AND deleted_at IS NULL AND ord > :after
ORDER BY ord
LIMIT :limit;

-- name: rewrap_snapshot
UPDATE snapshots SET key_id = :key_id, data_key = :data_key
WHERE id = :id;

-- name: unerased_snapshots
SELECT
  id, ord, call, upstream, kind, reversibility, '{}' AS manifest, size, sha256, NULL AS image,
  file, created_at, expires_at, deleted_at, seal, packed, spooled, key_id, data_key, erased_at,
  NULL AS answer
FROM snapshots
WHERE deleted_at IS NOT NULL AND erased_at IS NULL AND ord > :after
ORDER BY ord
LIMIT :limit;

-- name: keep_answer
UPDATE snapshots SET answer = :answer
WHERE id = :id;

-- name: erase_snapshot
UPDATE snapshots SET file = NULL, erased_at = :at
WHERE id = :id;

-- name: add_snapshot
INSERT INTO snapshots (
  id, ord, call, upstream, kind, reversibility, manifest, size, sha256, image, file,
  created_at, expires_at, deleted_at, seal, packed, spooled, key_id, data_key, erased_at,
  answer
) VALUES (
  :id, :ord, :call, :upstream, :kind, :reversibility, :manifest, :size, :sha256, :image,
  :file, :created_at, :expires_at, :deleted_at, :seal, :packed, :spooled, :key_id, :data_key,
  :erased_at, :answer
);

-- name: drop_snapshot
UPDATE snapshots SET manifest = '{}', image = NULL, data_key = NULL, answer = NULL, deleted_at = :at
WHERE id = :id;

-- name: epoch
SELECT COALESCE(MAX(epoch), 0) FROM freezes;

-- name: freeze
SELECT
  id, epoch, scope, reason, starts_at, ends_at, origin, created_by, lifted_at
FROM freezes
WHERE id = :id;

-- name: freezes
SELECT
  id, epoch, scope, reason, starts_at, ends_at, origin, created_by, lifted_at
FROM freezes
ORDER BY epoch;

-- name: standing_freezes
SELECT
  id, epoch, scope, reason, starts_at, ends_at, origin, created_by, lifted_at
FROM freezes
WHERE lifted_at IS NULL AND (ends_at IS NULL OR ends_at > :now)
ORDER BY epoch;

-- name: add_freeze
INSERT INTO freezes (
  id, epoch, scope, reason, starts_at, ends_at, origin, created_by, lifted_at
) VALUES (
  :id, :epoch, :scope, :reason, :starts_at, :ends_at, :origin, :created_by, :lifted_at
);

-- name: lift_freeze
UPDATE freezes SET lifted_at = :at WHERE id = :id;

-- name: approval
SELECT
  id, call, digest, revision, reasons, obligations, state, created_at, expires_at, decided_by,
  note
FROM approvals
WHERE id = :id;

-- name: approvals
SELECT
  id, call, digest, revision, reasons, obligations, state, created_at, expires_at, decided_by,
  note
FROM approvals
ORDER BY created_at, id;

-- name: approvals_waiting
SELECT
  id, call, digest, revision, reasons, obligations, state, created_at, expires_at, decided_by,
  note
FROM approvals
WHERE state = 'waiting'
ORDER BY created_at, id;

-- name: add_approval
INSERT INTO approvals (
  id, call, digest, revision, reasons, obligations, state, created_at, expires_at, decided_by,
  note
) VALUES (
  :id, :call, :digest, :revision, :reasons, :obligations, :state, :created_at, :expires_at,
  :decided_by, :note
);

-- name: change_approval
UPDATE approvals SET state = :state, decided_by = :by, note = :note WHERE id = :id;

-- name: put_revert
INSERT INTO reverts (
  id, target, on_conflict, plan, reason, requested_by, state, steps, created_at, updated_at
) VALUES (
  :id, :target, :on_conflict, :plan, :reason, :requested_by, :state, :steps, :created_at,
  :updated_at
)
ON CONFLICT (id) DO UPDATE SET
  state = excluded.state, steps = excluded.steps, updated_at = excluded.updated_at;

-- name: revert
SELECT
  id, target, on_conflict, plan, reason, requested_by, state, steps, created_at, updated_at
FROM reverts
WHERE id = :id;

-- name: add_conflict
INSERT INTO conflicts (revert, number, call, body)
SELECT :revert, coalesce(max(number), 0) + 1, :call, :body FROM conflicts WHERE revert = :revert;

-- name: conflicts
SELECT
  revert, number, call, body
FROM conflicts
WHERE revert = :revert AND number > :after
ORDER BY number
LIMIT :limit;

-- name: drop_conflicts
DELETE FROM conflicts WHERE revert = :revert AND call = :call;

-- name: running_reverts
SELECT
  id, target, on_conflict, plan, reason, requested_by, state, steps, created_at, updated_at
FROM reverts
WHERE state = 'running'
ORDER BY id;

-- name: agents
SELECT
  name, roles, token_sha256, created_at, revoked_at
FROM agents
ORDER BY created_at, name;

-- name: agent
SELECT
  name, roles, token_sha256, created_at, revoked_at
FROM agents
WHERE name = :name AND revoked_at IS NULL;

-- name: agent_by_token
SELECT
  name, roles, token_sha256, created_at, revoked_at
FROM agents
WHERE token_sha256 = :token_sha256 AND revoked_at IS NULL;

-- name: add_agent
INSERT INTO agents (
  name, roles, token_sha256, created_at, revoked_at
) VALUES (
  :name, :roles, :token_sha256, :created_at, :revoked_at
);

-- name: revoke_agent
UPDATE agents SET revoked_at = :at WHERE name = :name AND revoked_at IS NULL;

-- name: pins
SELECT
  server, tool, seen, approved, document, warnings, updated_at, by
FROM mcp_pins
WHERE :server IS NULL OR server = :server
ORDER BY server, tool;

-- name: put_pin
INSERT INTO mcp_pins (
  server, tool, seen, approved, document, warnings, updated_at, by
) VALUES (
  :server, :tool, :seen, :approved, :document, :warnings, :updated_at, :by
)
ON CONFLICT (server, tool) DO UPDATE SET
  seen = excluded.seen, approved = excluded.approved, document = excluded.document,
  warnings = excluded.warnings, updated_at = excluded.updated_at, by = excluded.by;

-- name: last_entry
SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1;

-- name: entries
SELECT seq, hash, CAST(body AS BLOB) FROM audit WHERE seq > :after ORDER BY seq LIMIT :limit;

-- name: add_entry
INSERT INTO audit (seq, hash, body) VALUES (:seq, :hash, :body);

-- name: beat
INSERT INTO heartbeat (id, at) VALUES (1, :at)
ON CONFLICT (id) DO UPDATE SET at = excluded.at;
