"""Many clients and users, put into a database behind keywheel's back: made one by one they would take hours.

They are copies of those that are there, and so have their secret and their password.
"""

import contextlib
import sqlite3
from pathlib import Path

import offered
from keywheel import TOKEN

FORM = "grant_type=client_credentials"
# What differs between two rows, as SQL.
CLIENT = {"client_id": "'crowd' || number", "name": "'crowd' || number"}
SECRET = {"id": "'crowd' || clients.id", "client": "clients.id"}
USER = {"user_id": "CAST(1000000000 + number AS TEXT)", "username": "'crowd' || number", "canonical": "'crowd' || number"}


class Sqlite:
    """A database that nobody uses meanwhile."""

    def __init__(self, path):
        self.path = path

    def columns(self, table):
        return [row[0] for row in self.run(f"SELECT name FROM pragma_table_info('{table}')")]

    def run(self, sql):
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            # Room for what is written at random places.
            connection.execute("PRAGMA cache_size = -500000")
            return connection.execute(sql).fetchall()

    def settle(self):
        self.run("ANALYZE")
        self.run("PRAGMA wal_checkpoint(TRUNCATE)")


class OnPostgres:
    """The same for a database of a private PostgreSQL."""

    def __init__(self, postgres, name):
        self.postgres, self.name = postgres, name

    def columns(self, table):
        return self.run(f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'").split()

    def run(self, sql):
        return self.postgres.said("psql", *self.postgres.address(), "-d", self.name, "-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql)

    def settle(self):
        # One by one: PostgreSQL takes several in one message for one transaction.
        self.run("VACUUM ANALYZE")
        self.run("CHECKPOINT")


def fill(database, clients, users=0):
    """Adds so many of both; the clients are called crowd0, crowd1 and so on, and are copies of the one that is called service."""
    service = "(SELECT id FROM clients WHERE name = 'service')"
    copy(database, "clients", CLIENT, f"clients, {numbers(clients)} WHERE clients.id = {service}")
    secrets = f"clients, client_secrets AS original WHERE clients.name LIKE 'crowd%' AND original.client = {service}"
    copy(database, "client_secrets", SECRET, secrets, "original")
    if users:
        copy(database, "users", USER, f"users, {numbers(users)} WHERE users.canonical = 'user0'")
    database.settle()


def copy(database, table, differs, rows, original=None):
    # A number that the database gives out by itself is not copied.
    columns = [name for name in database.columns(table) if name in differs or name != "id"]
    values = [differs.get(name, f"{original or table}.{name}") for name in columns]
    database.run(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {rows}")


def numbers(count):
    counted = f"SELECT 0 AS number UNION ALL SELECT number + 1 FROM counted WHERE number < {count - 1}"
    return f"(WITH RECURSIVE counted AS ({counted}) SELECT number FROM counted) AS numbered"


def requests(node, file, chosen):
    """Writes to a file a request for a token of each of the clients with these numbers."""
    _, secret = offered.credentials(node.service)
    lines = (offered.posted("token", TOKEN, offered.basic(f"crowd{number}", secret), FORM) for number in chosen)
    Path(file).write_text("\n".join(lines) + "\n")
    return file
