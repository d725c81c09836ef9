-- Twin of migrations/postgres/0006_coming_data_key.

-- While the master key changes: the same data key, wrapped by the master key that comes. The row in data_keys stays good until
-- the change is finished, so that nodes can be given the new key one by one.
CREATE TABLE coming_data_key (
    id BIGINT PRIMARY KEY NOT NULL CONSTRAINT coming_data_key_only_one CHECK (id = 1),
    master_key_id TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    created_at BIGINT NOT NULL
);
