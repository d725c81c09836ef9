-- Twin of migrations/postgres/0016_token_quotas.

-- How many tokens the client is given in which time, such as 1000/1m; null for as many as it asks for.
ALTER TABLE clients ADD COLUMN token_quota TEXT;
