-- answer: what the way back of a remote call needs of its answer. It becomes durable with the
-- outcome, is sealed with the key of the image and goes with it.
ALTER TABLE snapshots ADD COLUMN answer TEXT;

-- Identical calls: one that is still open, those that failed or were denied.
CREATE INDEX calls_by_digest ON calls (agent, digest, ord);
