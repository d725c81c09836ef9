"""The figures of scripts/bench as a table and as a picture."""

from statistics import median

# Least part of the bare cost that is to be reached.
TOKENS, JWKS = 0.80, 0.85
# Most memory at rest in MiB, and most milliseconds from the start to a token.
MEMORY, START = 25, 150


class Report:
    """What was measured: `figures` once, `rounds` again and again."""

    def __init__(self, figures, rounds):
        self.figures, self.rounds = figures, rounds
        self.by_processor = self.each(lambda r: r["tokens"][0]["per_cpu"] / r["sign"]["per_cpu"])
        self.by_rate = self.each(lambda r: r["tokens"][0]["rate"] / r["sign"]["rate"])
        self.of_static = self.each(lambda r: r["jwks"][0]["per_cpu"] / r["static"]["per_cpu"])
        loads = self.each(lambda r: r["tokens"][0])
        self.tokens = sum(load["tokens"] for load in loads)
        self.statements = sum(load["statements"] for load in loads)
        self.ticked = figures["ticker"] * sum(load["wall"] for load in loads)
        # A tick falls on this or that side of either end of a measurement.
        beyond = self.statements - self.ticked
        self.per_token = 0 if beyond <= len(rounds) else beyond / self.tokens

    def each(self, figure):
        return [figure(one) for one in self.rounds]

    def markdown(self, machine, how):
        rows = [*self.aims(), *self.information()]
        return "\n".join([
            "# Benchmark",
            "",
            how,
            "",
            *(f"- {name}: {value}" for name, value in machine.items()),
            "",
            "| figure | measured | goal |",
            "| --- | --- | --- |",
            *(f"| {name} | {value} | {aim} |" for name, value, aim in rows),
            "",
            f"{self.tokens:.0f} tokens were issued while {self.statements:.0f} statements went to the database, of which "
            f"about {self.ticked:.0f} are the once-a-second look at the change feed.",
            "",
        ])

    def aims(self):
        memory, start = self.figures["rss_idle"], self.figures["start"]
        reached = {"memory": memory[0] <= MEMORY, "start": median(start) <= START}
        return [
            ("**Tokens ÷ signatures**, by processor time", ratio(self.by_processor), least(self.by_processor, TOKENS)),
            ("**Tokens ÷ signatures**, by rate", ratio(self.by_rate), least(self.by_rate, TOKENS)),
            ("**JWKS ÷ static bytes**, by processor time", ratio(self.of_static), least(self.of_static, JWKS)),
            ("**Database statements per token**, warm cache", f"{self.per_token:.2g}", verdict("0", self.per_token == 0)),
            ("**Memory at rest**", mebibytes(memory), verdict(f"≤ {MEMORY} MiB", reached["memory"])),
            ("**Start to a token**, keys present", spread(start, unit=" ms"), verdict(f"≤ {START} ms", reached["start"])),
        ]

    def information(self):
        latency = "; ".join(f"{median(self.each(lambda r: r['tokens'][0][p])):.1f} ms" for p in ("p50_ms", "p99_ms"))
        yield "Memory after the load", mebibytes(self.figures["rss_after"]), ""
        yield "Tokens per second", spread(self.each(lambda r: r["tokens"][0]["rate"])), ""
        yield "Latency of a token at that rate, p50; p99", latency, ""
        yield "Per processor second: bare RSA-2048 signatures", spread(self.each(lambda r: r["sign"]["per_cpu"])), ""
        yield "… tokens", spread(self.each(lambda r: r["tokens"][0]["per_cpu"])), ""
        yield "… static bytes from bare actix-web", spread(self.each(lambda r: r["static"]["per_cpu"])), ""
        yield "… JWKS, 200", spread(self.each(lambda r: r["jwks"][0]["per_cpu"])), ""
        yield "… JWKS, 304", spread(self.each(lambda r: r["unchanged"]["per_cpu"])), ""
        if len(self.rounds[0]["tokens"]) > 1:
            for name, key in (("Tokens", "tokens"), ("JWKS", "jwks")):
                other = self.each(lambda r: r[key][0]["per_cpu"] / r[key][1]["per_cpu"])
                yield f"{name} ÷ the other keywheel's, by processor time", ratio(other), ""

    def chart(self):
        """Two bars and their goals, in colours that stand out from white and from black alike."""
        bars = [("tokens ÷ signatures", self.by_processor, TOKENS), ("JWKS ÷ static bytes", self.of_static, JWKS)]
        left, full, parts = 150, 400, []
        for number, (name, values, aim) in enumerate(bars):
            y, value, mark = 34 + number * 44, median(values), left + aim * full
            parts += [
                f'<text x="{left - 10}" y="{y + 19}" text-anchor="end">{name}</text>',
                f'<rect x="{left}" y="{y}" width="{full}" height="28" fill="#808890" fill-opacity="0.2"/>',
                f'<rect x="{left}" y="{y}" width="{min(value, 1.0) * full:.0f}" height="28" fill="#2674b8"/>',
                f'<text x="{left + 10}" y="{y + 19}" fill="#fff" font-weight="bold">{value:.2f}</text>',
                f'<path d="M{mark:.0f} {y - 4}v36" stroke="#e08a1e" stroke-width="2"/>',
                f'<text x="{mark:.0f}" y="{y - 8}" text-anchor="middle" font-size="11">goal {aim:.2f}</text>',
            ]
        title = "Work per processor time; the full width is the bare cost: the signature alone, the bytes alone"
        return "\n".join([
            '<svg xmlns="http://www.w3.org/2000/svg" width="580" height="140" viewBox="0 0 580 140" role="img"',
            '     font-family="system-ui, sans-serif" font-size="13" fill="#7a828c">',
            f"<title>{title}</title>",
            *parts,
            f'<text x="290" y="130" text-anchor="middle" font-size="11">{title}</text>',
            "</svg>",
            "",
        ])


def spread(values, digits=",.0f", unit=""):
    return f"{median(values):{digits}}{unit} ({min(values):{digits}} … {max(values):{digits}})"


def ratio(values):
    return spread(values, ".3f")


def mebibytes(resident):
    return f"{resident[0]:.1f} MiB, {resident[1]:.1f} MiB of them its own data"


def least(values, aim):
    return verdict(f"≥ {aim:.2f}", median(values) >= aim)


def verdict(aim, reached):
    return f"{aim}: reached" if reached else f"{aim}: **missed**"
