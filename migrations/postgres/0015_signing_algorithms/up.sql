-- Twin of migrations/sqlite/0015_signing_algorithms. Only adds: the version before this one goes on running.

-- With what the client's access tokens are signed; null for what the server is set to.
ALTER TABLE clients ADD COLUMN signing_alg TEXT;
CREATE INDEX clients_by_signing_alg ON clients (signing_alg) WHERE signing_alg IS NOT NULL;

-- From when on a key signs no more because nobody wants its algorithm.
ALTER TABLE signing_keys ADD COLUMN withdrawn_at BIGINT;

-- Which algorithms servers and clients want, as nodes see it: a minute late at most. One row for each that was ever wanted.
CREATE TABLE algorithm_uses (
    alg TEXT PRIMARY KEY NOT NULL,
    wanted_at BIGINT NOT NULL,
    -- When a server was last set to it; null if none ever was.
    served_at BIGINT
);
