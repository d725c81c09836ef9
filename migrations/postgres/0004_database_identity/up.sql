-- Twin of migrations/sqlite/0004_database_identity. Only adds: the version before this one goes on running.

-- One row. Nodes remember which database they know and how far it was, and notice when it was put back to an earlier state;
-- finalized counts how often an administrator said that this was meant.
CREATE TABLE database_identity (
    id BIGINT PRIMARY KEY CONSTRAINT database_identity_only_one CHECK (id = 1),
    uid TEXT NOT NULL,
    finalized BIGINT NOT NULL
);
