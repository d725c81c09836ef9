-- Twin of migrations/sqlite/0014_token_reuse. Only adds: the version before this one goes on running.

-- How long a token of the client is given again; NULL is for never.
ALTER TABLE clients ADD COLUMN token_reuse_window BIGINT
    CONSTRAINT clients_token_reuse_window_positive CHECK (token_reuse_window > 0);
-- How often that was done on a day. `tokens` counts those that were signed.
ALTER TABLE client_usage ADD COLUMN reused BIGINT NOT NULL DEFAULT 0
    CONSTRAINT client_usage_reused_not_negative CHECK (reused >= 0);
