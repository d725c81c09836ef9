"""The documents that everybody reads, against static bytes from a bare actix-web."""

import load
from cases.case import Case
from figures import Bar, Row, spread
from keywheel import JWKS
from limits import Static, mean

AIM = 0.90
METADATA = "/.well-known/oauth-authorization-server"
# What is compared: its name, its path, and whether the client says which version it has.
DOCUMENTS = {
    "jwks": ("key set", JWKS, False),
    "unchanged": ("key set, 304", JWKS, True),
    "metadata": ("metadata", METADATA, False),
}


class Documents(Case):
    rounds = (3, 10)

    def prepare(self, stack):
        self.keywheels = [stack.enter_context(node) for node in self.nodes("jwks")]
        self.statics, self.headers = {}, {}
        for key, (_, path, unchanged) in DOCUMENTS.items():
            body, headers = self.keywheels[0].fetch(path)
            self.headers[key] = [f"If-None-Match: {headers['ETag']}"] if unchanged else []
            static = Static(self.stage, self.stage.folder / f"static-{key}", None if unchanged else body)
            self.statics[key] = stack.enter_context(static)

    def measure(self):
        measured = {"static": {}}
        for key, (_, path, _) in DOCUMENTS.items():
            static, headers = self.statics[key], self.headers[key]
            before = static.documents(path, 1, headers=headers)
            measured[key] = [load.on(node.server, node.port, path, 1, headers=headers) for node in self.keywheels]
            measured["static"][key] = mean([before, static.documents(path, 1, headers=headers)])
        return measured

    def bars(self):
        for key, (name, _, _) in DOCUMENTS.items():
            values = self.each(lambda one: one[key][0]["per_cpu"] / one["static"][key]["per_cpu"])
            yield Bar(f"{name} ÷ static", values, AIM)

    def aims(self):
        names = ("Key set ÷ static bytes", "Key set, 304 ÷ the same from bare actix-web", "Metadata ÷ static bytes")
        return [bar.row(f"**{name}**, by processor time") for name, bar in zip(names, self.bars())]

    def information(self):
        for key, (name, _, _) in DOCUMENTS.items():
            yield Row(f"Per processor second: {name}", spread(self.each(lambda one: one[key][0]["per_cpu"])))
            static = self.each(lambda one: one["static"][key]["per_cpu"])
            yield Row("… the same from bare actix-web", spread(static))
            yield from self.against(name.capitalize(), key)
