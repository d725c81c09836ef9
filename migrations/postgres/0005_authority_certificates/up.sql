-- Twin of migrations/sqlite/0005_authority_certificates. Only adds: the version before this one goes on running, and finds the
-- present authority where it always was.

-- Certificates of authorities besides the present one: those that certified before it, those above it, and those of imported keys.
-- Published as long as a published key hangs on them. No private key of theirs is kept.
CREATE TABLE authority_certificates (
    sha256 BYTEA PRIMARY KEY CONSTRAINT authority_certificates_sha256_length CHECK (length(sha256) = 32),
    certificate BYTEA NOT NULL,
    added_at BIGINT NOT NULL
);
