-- Twin of migrations/sqlite/0012_creations. Only adds: the version before this one goes on running.

-- What was created with which Idempotency-Key. No secret is in here, and none can be derived without the vault.
CREATE TABLE creations (
    -- A keyed hash of who asked, for what, and the key.
    name BYTEA PRIMARY KEY,
    -- What was made is derived from it.
    salt BYTEA NOT NULL,
    -- A keyed hash of the request's content.
    content BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX creations_created_at ON creations (created_at);
