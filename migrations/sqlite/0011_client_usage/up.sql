-- Twin of migrations/postgres/0011_client_usage.

-- How many tokens each client was given on each day of UTC, a minute late; for reports.
CREATE TABLE client_usage (
    client BIGINT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    -- Days since 1970-01-01.
    day BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    PRIMARY KEY (client, day)
);
CREATE INDEX client_usage_day ON client_usage (day);
