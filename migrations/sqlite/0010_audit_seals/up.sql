-- Twin of migrations/postgres/0010_audit_seals.

-- Each seal is over the events after those of the seal before, and over that seal: whoever alters or removes an event breaks it.
CREATE TABLE audit_seals (
    number BIGINT PRIMARY KEY NOT NULL CONSTRAINT audit_seals_number_positive CHECK (number > 0),
    -- The events have ids up to this one, beyond that of the seal before.
    last_id BIGINT NOT NULL,
    events BIGINT NOT NULL,
    mac BLOB NOT NULL CONSTRAINT audit_seals_mac_length CHECK (length(mac) = 32),
    sealed_at BIGINT NOT NULL,
    -- The trail begins after this one: its events have outlived their retention.
    pruned BOOLEAN NOT NULL,
    -- Over this row, for when its events are gone.
    row_mac BLOB NOT NULL CONSTRAINT audit_seals_row_mac_length CHECK (length(row_mac) = 32)
);
