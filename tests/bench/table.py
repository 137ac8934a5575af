"""The lines of the table, and what they look like."""

from dataclasses import dataclass, field

from harness import median


@dataclass
class Line:
    """One thing measured and what it has to reach."""

    row: str  # group, as named on the command line
    what: str
    unit: str
    ours: float
    target: str
    met: bool
    other: float = None  # what the floor or the peer reached
    other_name: str = ""
    ratio: float = None
    samples: dict = field(default_factory=dict)  # side -> values, in the order of measuring


def at_most(row, what, unit, ours, limit, **more):
    """An absolute upper bound."""
    return Line(row, what, unit, ours, f"≤ {limit:g} {unit}", ours <= limit, **more)


def at_least(row, what, unit, ours, limit, **more):
    return Line(row, what, unit, ours, f"≥ {limit:g} {unit}", ours >= limit, **more)


def compared(row, what, unit, ours, other, other_name, ratio, least=None, most=None):
    """A bound on the ratio of ours to the other side; `ours` and `other` are lists of samples."""
    target = f"≥ {least:g} ×" if least is not None else f"≤ {most:g} ×"
    met = ratio >= least if least is not None else ratio <= most
    return Line(row, what, unit, median(ours), target, met, median(other), other_name, ratio,
                {"ours": ours, other_name: other})


def floored(row, what, unit, ours, other, other_name, ratio, least=None, most=None):
    """An absolute bound; the other side is there to tell how far it could go."""
    value = median(ours)
    bound = at_least(row, what, unit, value, least) if least is not None else at_most(row, what, unit, value, most)
    bound.other, bound.other_name, bound.ratio = median(other), other_name, ratio
    bound.samples = {"ours": ours, other_name: other}
    return bound


def number(value, unit=""):
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}".replace(",", " ") + (f" {unit}" if unit else "")


def cells(line):
    other = f"{number(line.other, line.unit)} ({line.other_name})" if line.other is not None else ""
    return [line.row, line.what, number(line.ours, line.unit), other, number(line.ratio), line.target,
            "met" if line.met else "NOT met"]


HEAD = ["row", "what", "ours", "the other side", "ratio", "target", ""]


def as_text(lines):
    rows = [HEAD] + [cells(line) for line in lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def as_markdown(lines):
    rows = [HEAD, ["---"] * len(HEAD)] + [cells(line) for line in lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
