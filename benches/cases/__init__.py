"""What is measured: one case for each kind of work."""

from cases.additions import Additions
from cases.algorithms import Algorithms
from cases.clients import Clients
from cases.database import Database
from cases.documents import Documents
from cases.flood import Flood
from cases.growth import Growth
from cases.introspection import Introspection
from cases.latencies import Latencies
from cases.logins import Logins
from cases.offered_tokens import OfferedTokens
from cases.others import Others
from cases.overload import Overload
from cases.passwords import Passwords
from cases.refresh import RefreshOnPostgres, RefreshOnSqlite
from cases.reuse import Reuse
from cases.revocation import Revocation
from cases.scale import Scale
from cases.slow_clients import SlowOnes
from cases.tokens import Tokens
from cases.turn import Turn

# In the order of the report, by the name that --only takes.
CASES = {
    "tokens": [Tokens],
    "reuse": [Reuse],
    "algorithms": [Algorithms],
    "open": [OfferedTokens],
    "latencies": [Latencies],
    "clients": [Clients],
    "jwks": [Documents],
    "passwords": [Passwords],
    "flood": [Flood],
    "overload": [Overload],
    "slow_clients": [SlowOnes],
    "refresh": [RefreshOnPostgres, RefreshOnSqlite],
    "introspection": [Introspection],
    "revocation": [Revocation],
    "mixed": [Turn],
    "logins": [Logins],
    "growth": [Growth],
}
# Those that take long or install something: only when they are named.
ONLY_NAMED = {"additions": [Additions], "database": [Database], "scale": [Scale], "peers": [Others]}
