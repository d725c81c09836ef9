-- Twin of migrations/postgres/0009_secret_use.

-- From when on a secret is accepted, and when it last was, with a delay of a few minutes; NULL is for at once, and for never.
ALTER TABLE client_secrets ADD COLUMN not_before BIGINT;
ALTER TABLE client_secrets ADD COLUMN last_used_at BIGINT;
-- Nobody knows when those that exist were used: they count as used now, so that none is taken for unused too early.
UPDATE client_secrets SET last_used_at = CAST(strftime('%s', 'now') AS BIGINT);
