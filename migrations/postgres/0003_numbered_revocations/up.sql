-- Twin of migrations/sqlite/0003_numbered_revocations. Only adds: the version before this one goes on running.

-- Nodes keep revoked access tokens in memory and ask for those beyond the last number they saw. Numbers become visible in order.
ALTER TABLE revoked_access_tokens ADD COLUMN number BIGSERIAL;
CREATE UNIQUE INDEX revoked_access_tokens_number ON revoked_access_tokens (number);
