-- Twin of migrations/postgres/0003_numbered_revocations.

-- Nodes keep revoked access tokens in memory and ask for those beyond the last number they saw. AUTOINCREMENT: a number is never
-- given out twice, also when the newest row is gone.
CREATE TABLE numbered (
    number INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    jti TEXT NOT NULL CONSTRAINT revoked_access_tokens_jti_unique UNIQUE,
    expires_at BIGINT NOT NULL
);
INSERT INTO numbered (jti, expires_at) SELECT jti, expires_at FROM revoked_access_tokens;
DROP TABLE revoked_access_tokens;
ALTER TABLE numbered RENAME TO revoked_access_tokens;
CREATE INDEX revoked_access_tokens_expires_at ON revoked_access_tokens (expires_at);
