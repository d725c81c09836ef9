-- Twin of migrations/sqlite/0013_dynamic_registration. Only adds: the version before this one goes on running.

-- Who presents one of these may register clients (RFC 7591 §1.2, initial access token).
CREATE TABLE initial_access_tokens (
    id TEXT PRIMARY KEY,
    hash BYTEA NOT NULL UNIQUE CONSTRAINT initial_access_tokens_hash_length CHECK (length(hash) = 32),
    hint TEXT NOT NULL,
    name TEXT NOT NULL,
    uses_left BIGINT NOT NULL CONSTRAINT initial_access_tokens_uses_left CHECK (uses_left >= 0),
    -- What its clients may have registered at most.
    grant_types TEXT NOT NULL,
    scope TEXT NOT NULL,
    audiences TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- The hour, counted since 1970, in which it was last used, and how often it was used in that hour.
    last_hour BIGINT NOT NULL,
    uses_in_hour BIGINT NOT NULL
);

-- The clients that registered themselves, each with the token by which it manages its registration (RFC 7592 §1.2).
CREATE TABLE registrations (
    client BIGINT PRIMARY KEY REFERENCES clients (id) ON DELETE CASCADE,
    hash BYTEA NOT NULL UNIQUE CONSTRAINT registrations_hash_length CHECK (length(hash) = 32),
    -- Which initial access token it was; that may be gone.
    registered_with TEXT NOT NULL,
    -- What that token allowed, for as long as the client lives.
    grant_types TEXT NOT NULL,
    scope TEXT NOT NULL,
    audiences TEXT NOT NULL
);
