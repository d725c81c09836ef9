"""What was measured, as a table and as a picture."""

from statistics import median

# Of the picture: where bars begin, how long the bare cost is, and the height of a bar with its goal.
LEFT, FULL, HEIGHT = 270, 400, 44


def markdown(cases, machine, how):
    rows = [row for case in cases for row in case.aims()] + [row for case in cases for row in case.information()]
    return "\n".join([
        "# Benchmark",
        "",
        how,
        "",
        *(f"- {name}: {value}" for name, value in machine.items()),
        "",
        "| figure | measured | goal |",
        "| --- | --- | --- |",
        *(f"| {row.name} | {row.value} | {row.goal} |" for row in rows),
        "",
        *(line for case in cases for remark in case.remarks() for line in (remark, "")),
    ])


def at(value):
    """Where in the picture; what is beyond the edge is drawn on it."""
    return LEFT + min(value, 1.05) * FULL


def chart(cases):
    """A bar for the median of each ratio, a line from the lowest to the highest, and the goal; in colours that stand out from white and
    from black alike."""
    bars, parts = [bar for case in cases for bar in case.bars()], []
    for number, bar in enumerate(bars):
        y, value, mark = 34 + number * HEIGHT, median(bar.values), LEFT + bar.aim * FULL
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 19}" text-anchor="end">{bar.name}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{FULL}" height="28" fill="#808890" fill-opacity="0.2"/>',
            f'<rect x="{LEFT}" y="{y}" width="{min(value, 1.0) * FULL:.0f}" height="28" fill="#2674b8"/>',
            f'<text x="{LEFT + 10}" y="{y + 19}" fill="#fff" font-weight="bold">{value:.2f}</text>',
            f'<path d="M{at(min(bar.values)):.0f} {y + 24}H{at(max(bar.values)):.0f}" stroke="#7a828c" stroke-width="2"/>',
            f'<path d="M{mark:.0f} {y - 4}v36" stroke="#e08a1e" stroke-width="2"/>',
            f'<text x="{mark:.0f}" y="{y - 8}" text-anchor="middle" font-size="11">goal {bar.aim:.2f}</text>',
        ]
    title = "How much of the bare cost is reached: median, lowest and highest; the full width is the bare cost itself"
    width, height = LEFT + FULL + 40, 52 + len(bars) * HEIGHT
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img"',
        '     font-family="system-ui, sans-serif" font-size="13" fill="#7a828c">',
        f"<title>{title}</title>",
        *parts,
        f'<text x="{width / 2:.0f}" y="{height - 10}" text-anchor="middle" font-size="11">{title}</text>',
        "</svg>",
        "",
    ])
