-- Twin of migrations/postgres/0017_schema_compat. Only adds: the version before this one goes on running.

-- One row: the newest of the migrations that a program must know to work with these tables. A program that does not know every
-- migration here starts if it knows that one. Only a contract step raises it (CONTRIBUTING.md).
CREATE TABLE schema_compat (
    id BIGINT PRIMARY KEY NOT NULL CONSTRAINT schema_compat_only_one CHECK (id = 1),
    needs TEXT NOT NULL
);
INSERT INTO schema_compat (id, needs) VALUES (1, '0017');
