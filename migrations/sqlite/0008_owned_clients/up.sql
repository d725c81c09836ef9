-- Twin of migrations/postgres/0008_owned_clients.

-- Whose file declares the client (`keywheel apply`); null for one that was made by hand.
ALTER TABLE clients ADD COLUMN owner TEXT;
CREATE INDEX clients_by_owner ON clients (owner) WHERE owner IS NOT NULL;
