-- Statements of PostgreSQL's own kind of test file that an undo once did not bring back.
\set VERBOSITY terse
CREATE TABLE parted (a int PRIMARY KEY, b text) PARTITION BY LIST (a);
CREATE TABLE part_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE part_2 (b text, a int PRIMARY KEY);
ALTER TABLE parted ATTACH PARTITION part_2 FOR VALUES IN (2);
INSERT INTO parted VALUES (1, 'it''s; one'), (2, 'two');
UPDATE parted SET a = 3 - a WHERE a = 1 AND false;
DELETE FROM parted WHERE a = 2;
ALTER TABLE parted DETACH PARTITION part_1;
/* A catalog has this name; */ CREATE TABLE pg_attrdef (LIKE parted INCLUDING ALL);
CREATE TABLE opts (i int, s text) WITH (fillfactor = 30, toast.autovacuum_vacuum_cost_delay = 23);
ALTER TABLE opts SET (toast.autovacuum_vacuum_cost_delay = 24, fillfactor = 31);
ALTER TABLE opts RESET (toast.autovacuum_vacuum_cost_delay);
COPY opts FROM stdin;
1	a; b
2	c
\.
INSERT INTO opts SELECT i, repeat('x', i) FROM generate_series(1, 50) i;
CREATE TABLE pk (x text COLLATE "C" PRIMARY KEY);
CREATE TABLE fk (y text COLLATE "POSIX" REFERENCES pk);
INSERT INTO pk VALUES ('foo'), ('bar');
INSERT INTO fk VALUES ('foo');
CREATE TABLE heir (i int, more int);
CREATE TABLE base (i int);
ALTER TABLE heir INHERIT base;
SELECT count(*) FROM opts WHERE i > 3;
DELETE FROM opts WHERE i % 2 = 0;
ALTER TABLE opts ALTER i TYPE bigint, ADD COLUMN k int DEFAULT 5;
CREATE MATERIALIZED VIEW mv AS SELECT i FROM opts;
DROP TABLE pk CASCADE;
DROP TABLE fk;
