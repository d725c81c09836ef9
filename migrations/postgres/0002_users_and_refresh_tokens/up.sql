-- Twin of migrations/sqlite/0002_users_and_refresh_tokens. Only adds: the version before this one goes on running.

-- NULL is the server's setting. The epoch rises when every family of the client ends.
ALTER TABLE clients
    ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN refresh_ttl BIGINT CONSTRAINT clients_refresh_ttl_positive CHECK (refresh_ttl > 0),
    ADD COLUMN refresh_absolute_ttl BIGINT
        CONSTRAINT clients_refresh_absolute_ttl_positive CHECK (refresh_absolute_ttl > 0),
    ADD COLUMN refresh_retry_window BIGINT
        CONSTRAINT clients_refresh_retry_window_not_negative CHECK (refresh_retry_window >= 0);

CREATE TABLE users (
    -- Never reused: whoever takes a deleted user's name gets another row.
    id BIGSERIAL PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL,
    -- As it was written, and in the form in which names are compared.
    username TEXT NOT NULL,
    canonical TEXT COLLATE "C" NOT NULL,
    password_hash TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    -- Rises when every family of the user ends.
    epoch BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT users_user_id_unique UNIQUE (user_id),
    CONSTRAINT users_canonical_unique UNIQUE (canonical)
);

CREATE TABLE token_families (
    id TEXT COLLATE "C" PRIMARY KEY CONSTRAINT token_families_id_length CHECK (length(id) = 22),
    client BIGINT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    client_epoch BIGINT NOT NULL,
    -- NULL when the client acts for itself.
    owner BIGINT REFERENCES users (id) ON DELETE CASCADE,
    owner_epoch BIGINT,
    scope TEXT NOT NULL,
    audiences TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    revoked_reason TEXT,
    CONSTRAINT token_families_owner_whole CHECK ((owner IS NULL) = (owner_epoch IS NULL)),
    CONSTRAINT token_families_revocation_whole CHECK ((revoked_at IS NULL) = (revoked_reason IS NULL))
);
CREATE INDEX token_families_client ON token_families (client, created_at);
CREATE INDEX token_families_owner ON token_families (owner, created_at);
CREATE INDEX token_families_expires_at ON token_families (expires_at);

-- Room in each page, so that marking a row as rotated touches no index.
CREATE TABLE refresh_tokens (
    hash BYTEA PRIMARY KEY CONSTRAINT refresh_tokens_hash_length CHECK (length(hash) = 32),
    family TEXT COLLATE "C" NOT NULL REFERENCES token_families (id) ON DELETE CASCADE,
    generation BIGINT NOT NULL CONSTRAINT refresh_tokens_generation_not_negative CHECK (generation >= 0),
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    rotated_at BIGINT,
    CONSTRAINT refresh_tokens_generation_unique UNIQUE (family, generation)
) WITH (fillfactor = 90);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);

CREATE TABLE revoked_access_tokens (
    jti TEXT COLLATE "C" PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX revoked_access_tokens_expires_at ON revoked_access_tokens (expires_at);

-- Always empty. Whoever gives out a refresh token names it; whoever ends the families of a client or a user locks it until the
-- end is committed. So the end waits for the statements under way, and later ones see it.
CREATE TABLE family_gate (
    id BIGINT PRIMARY KEY CONSTRAINT family_gate_empty CHECK (id IS NULL)
);
