-- Twin of migrations/sqlite/0018_vacuum_sooner. Only sets how often tables are vacuumed: the version before this one goes on running,
-- and nobody waits.

-- What is waited for here is a vacuum, and while one waits everybody else goes on: long enough to have it give way.
SET LOCAL lock_timeout = '3s';

-- Rows leave these tables at the end at which the next that are to go are looked for. Until a table is vacuumed, whoever looks reads
-- past all that have gone, and by default that is every fifth row: two million of ten. From the threshold on, every hundredth.
ALTER TABLE refresh_tokens SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
ALTER TABLE token_families SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
ALTER TABLE revoked_access_tokens SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
ALTER TABLE changes SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
ALTER TABLE audit_events SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

-- Whatever comes after it in this transaction waits briefly again.
SET LOCAL lock_timeout = '300ms';
