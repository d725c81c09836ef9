-- Twin of migrations/sqlite/0016_token_quotas. Only adds: the version before this one goes on running.

-- How many tokens the client is given in which time, such as 1000/1m; null for as many as it asks for.
ALTER TABLE clients ADD COLUMN token_quota TEXT;
