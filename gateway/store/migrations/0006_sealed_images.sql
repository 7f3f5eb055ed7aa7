-- key_id, data_key: the key of the image, wrapped by the configured key of that name; NULL for an
-- image that is not encrypted. erased_at: when everything was shown to be gone, after deleted_at.
ALTER TABLE snapshots ADD COLUMN key_id TEXT;
ALTER TABLE snapshots ADD COLUMN data_key BLOB;
ALTER TABLE snapshots ADD COLUMN erased_at TEXT;

CREATE INDEX snapshots_by_key ON snapshots (key_id, ord) WHERE deleted_at IS NULL;
CREATE INDEX snapshots_to_erase ON snapshots (ord) WHERE deleted_at IS NOT NULL AND erased_at IS NULL;
