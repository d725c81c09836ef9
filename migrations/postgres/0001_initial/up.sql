-- Twin of migrations/sqlite/0001_initial. Times are seconds since 1970 (NumericDate), sets are words separated by spaces.

CREATE TABLE clients (
    -- Never reused: whoever registers a deleted client_id again gets another row.
    id BIGSERIAL PRIMARY KEY,
    -- The order of bytes, so that both backends page through clients in the same order.
    client_id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    grant_types TEXT NOT NULL,
    auth_methods TEXT NOT NULL,
    scope TEXT NOT NULL,
    audiences TEXT NOT NULL,
    access_ttl BIGINT CONSTRAINT clients_access_ttl_positive CHECK (access_ttl > 0),
    token_type TEXT NOT NULL,
    claim_profile TEXT NOT NULL,
    introspect BOOLEAN NOT NULL,
    enabled BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT clients_client_id_unique UNIQUE (client_id)
);

CREATE TABLE client_secrets (
    id TEXT PRIMARY KEY,
    client BIGINT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    hash BYTEA NOT NULL CONSTRAINT client_secrets_hash_length CHECK (length(hash) = 32),
    hint TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE INDEX client_secrets_client ON client_secrets (client);

CREATE TABLE data_keys (
    id BIGINT PRIMARY KEY CONSTRAINT data_keys_only_one CHECK (id = 1),
    master_key_id TEXT NOT NULL,
    wrapped BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE certificate_authorities (
    id BIGINT PRIMARY KEY CONSTRAINT certificate_authorities_only_one CHECK (id = 1),
    certificate BYTEA NOT NULL,
    sealed_private_key BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY CONSTRAINT signing_keys_kid_length CHECK (length(kid) = 43),
    alg TEXT NOT NULL,
    slot BIGINT NOT NULL,
    published_at BIGINT NOT NULL,
    activates_at BIGINT NOT NULL,
    certificate BYTEA NOT NULL,
    -- NULL once it is destroyed; it never comes back.
    sealed_private_key BYTEA,
    longest_token_life BIGINT NOT NULL CONSTRAINT signing_keys_life_not_negative CHECK (longest_token_life >= 0),
    tainted_at BIGINT,
    revoked_at BIGINT,
    CONSTRAINT signing_keys_slot_unique UNIQUE (alg, slot)
);

CREATE TABLE changes (
    id BIGSERIAL PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    at BIGINT NOT NULL
);

CREATE TABLE audit_events (
    id BIGSERIAL PRIMARY KEY,
    at BIGINT NOT NULL,
    event TEXT NOT NULL,
    actor TEXT NOT NULL,
    client_id TEXT,
    kid TEXT,
    detail TEXT NOT NULL
);
CREATE INDEX audit_events_at ON audit_events (at, id);
CREATE INDEX audit_events_client_id ON audit_events (client_id, at, id);
