"""What is measured: one case for each kind of work."""

from cases.documents import Documents
from cases.growth import Growth
from cases.introspection import Introspection
from cases.logins import Logins
from cases.refresh import RefreshOnPostgres, RefreshOnSqlite
from cases.tokens import Tokens

# In the order of the report, by the name that --only takes.
CASES = {
    "tokens": [Tokens],
    "jwks": [Documents],
    "refresh": [RefreshOnPostgres, RefreshOnSqlite],
    "introspection": [Introspection],
    "logins": [Logins],
    "growth": [Growth],
}
