"""Logins against the password hash that each of them is."""

from urllib.parse import urlencode

from cases.case import Case
from figures import Bar, Row, at_most, spread
from keywheel import TOKEN, USERS, login
from limits import Bare, mean

AIM = 0.90
# Logins at a time: one is hashed, and the others are ready when it is done.
AT_ONCE = 4
# Memory of one hash in MiB, of which there is one for each processor, and how much of it there may be beside what is there anyway.
HASH, ALLOWANCE = 19, 1.2


class Passwords(Case):
    rounds = (3, 8)

    def prepare(self, stack):
        self.hasher = stack.enter_context(Bare(self.stage, self.stage.folder / "hash", "hash"))
        self.keywheels = [stack.enter_context(node) for node in self.nodes("passwords")]
        self.at_rest = self.keywheels[0].server.memory()["VmRSS"]
        self.file = self.stage.folder / "passwords.forms"
        # Each user from a block of addresses of their own, as the throttle sees it.
        forms = [f"10.{number // 250}.{number % 250}.1 {urlencode(login(number))}" for number in range(USERS)]
        self.file.write_text("\n".join(forms) + "\n")

    def measure(self):
        hashing, seconds = self.of((0.6, 1)), self.of((2, 4))
        before = self.hasher.measure(hashing)
        logins = [
            node.load(TOKEN, seconds, node.application, self.file, script="turns.lua", connections=AT_ONCE)
            for node in self.keywheels
        ]
        after = self.hasher.measure(hashing)
        self.highest = self.keywheels[0].server.memory()["VmHWM"]
        return {"hash": mean([before, after]), "logins": logins}

    def bars(self):
        return [Bar("login ÷ argon2 hash", self.each(lambda one: one["logins"][0]["per_cpu"] / one["hash"]["per_cpu"]), AIM)]

    def aims(self):
        yield from (bar.row("**Logins ÷ argon2id hashes**, by processor time") for bar in self.bars())
        most = self.at_rest + HASH * ALLOWANCE
        yield Row(
            "**Memory at its highest meanwhile**",
            f"{self.highest:.1f} MiB, {self.at_rest:.1f} MiB at rest",
            at_most(self.highest, most, f"MiB (at rest + {HASH} MiB × {ALLOWANCE})"),
        )

    def information(self):
        loads = self.each(lambda one: one["logins"][0])
        return [
            Row("Logins per second of the server's processor", spread([load["per_cpu"] for load in loads], ".1f")),
            Row("… bare hashes per second of theirs", spread(self.each(lambda one: one["hash"]["per_cpu"]), ".1f")),
            *self.against("Logins", "logins"),
        ]
