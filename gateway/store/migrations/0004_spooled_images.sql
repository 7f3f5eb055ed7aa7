-- seal, packed: SHA-256 and number of the stored bytes. spooled: the images may be too large to be
-- whole in memory.
ALTER TABLE snapshots ADD COLUMN seal TEXT;
ALTER TABLE snapshots ADD COLUMN packed INTEGER;
ALTER TABLE snapshots ADD COLUMN spooled INTEGER NOT NULL DEFAULT 0;
