-- Twin of migrations/postgres/0012_creations.

-- What was created with which Idempotency-Key. No secret is in here, and none can be derived without the vault.
CREATE TABLE creations (
    -- A keyed hash of who asked, for what, and the key.
    name BLOB PRIMARY KEY,
    -- What was made is derived from it.
    salt BLOB NOT NULL,
    -- A keyed hash of the request's content.
    content BLOB NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX creations_created_at ON creations (created_at);
