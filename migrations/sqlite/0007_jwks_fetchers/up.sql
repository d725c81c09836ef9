-- Twin of migrations/postgres/0007_jwks_fetchers.

-- Who fetches the JWK set, as far as a User-Agent and a network tell, and how often since the newest key that they got was published.
-- Small: nodes tell apart only so many.
CREATE TABLE jwks_fetchers (
    user_agent TEXT NOT NULL,
    address_block TEXT NOT NULL,
    -- When the newest key of the set that was fetched was published.
    newest_key_at BIGINT NOT NULL,
    fetches BIGINT NOT NULL,
    last_fetched_at BIGINT NOT NULL,
    PRIMARY KEY (user_agent, address_block, newest_key_at)
);
