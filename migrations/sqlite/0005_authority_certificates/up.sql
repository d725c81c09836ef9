-- Twin of migrations/postgres/0005_authority_certificates. Only adds: the version before this one goes on running, and finds the
-- present authority where it always was.

-- Certificates of authorities besides the present one: those that certified before it, those above it, and those of imported keys.
-- Published as long as a published key hangs on them. No private key of theirs is kept.
CREATE TABLE authority_certificates (
    sha256 BLOB PRIMARY KEY NOT NULL CONSTRAINT authority_certificates_sha256_length CHECK (length(sha256) = 32),
    certificate BLOB NOT NULL,
    added_at BIGINT NOT NULL
);
