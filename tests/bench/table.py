"""The lines of the table, and what they look like."""

from dataclasses import asdict, dataclass, field, fields

from harness import median, median_ratio


@dataclass
class Line:
    """One thing measured, and what it has to reach."""

    row: str  # as named on the command line
    what: str
    unit: str
    ours: float
    limit: float  # of `ours`, or of `ratio` where `relative`
    upper: bool  # at most, else at least
    relative: bool = False
    other: float = None  # what the floor or the peer reached
    other_name: str = ""
    ratio: float = None
    samples: dict = field(default_factory=dict)  # side -> values, in the order of measuring
    bound: str = ""  # the best that anything could reach here, as measured

    @property
    def value(self):
        return self.ratio if self.relative else self.ours

    @property
    def met(self):
        return self.value <= self.limit if self.upper else self.value >= self.limit

    @property
    def margin(self):
        """1: just met; 2: twice as good; 0.5: half as good."""
        return self.limit / self.value if self.upper else self.value / self.limit

    @property
    def target(self):
        return f"{'≤' if self.upper else '≥'} {number(self.limit, '×' if self.relative else self.unit, exact=True)}"

    @property
    def shown(self):
        return number(self.value, "×" if self.relative else self.unit)

    def as_dict(self):
        return {**asdict(self), "target": self.target, "met": self.met}


def at_most(row, what, unit, ours, limit):
    return Line(row, what, unit, ours, limit, upper=True)


def at_least(row, what, unit, ours, limit):
    return Line(row, what, unit, ours, limit, upper=False)


def _beside(row, what, unit, ours, other, other_name, ratio, least, most, relative):
    limit, upper = (least, False) if least is not None else (most, True)
    return Line(row, what, unit, median(ours), limit, upper, relative, median(other), other_name, ratio,
                {"ours": ours, other_name: other})


def compared(row, what, unit, ours, other, other_name, ratio, least=None, most=None):
    """A bound on the ratio of ours to the other side; `ours` and `other` are lists of samples."""
    return _beside(row, what, unit, ours, other, other_name, ratio, least, most, relative=True)


def floored(row, what, unit, ours, other, other_name, ratio, least=None, most=None):
    """An absolute bound; the other side is there to tell how far it could go."""
    return _beside(row, what, unit, ours, other, other_name, ratio, least, most, relative=False)


def bounded(line, name, samples, against=None):
    """Tells beside the line what something reaches that does nothing but what has to be done. Several may be told."""
    line.samples[name] = samples
    best = number(median_ratio(samples, against), "×") if against else number(median(samples), line.unit)
    line.bound = ", ".join(filter(None, [line.bound, f"{name}: {best}"]))
    return line


def number(value, unit="", exact=False):
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:g}" if exact else f"{value:,.{digits}f}".replace(",", " ")
    return text + (f" {unit}" if unit else "")


HEAD = ["row", "what", "ours", "the other side", "ratio", "target", ""]


def cells(line):
    other = f"{number(line.other, line.unit)} ({line.other_name})" if line.other is not None else ""
    other = "; ".join(filter(None, [other, line.bound]))
    return [line.row, line.what, number(line.ours, line.unit), other, number(line.ratio), line.target,
            "met" if line.met else "NOT met"]


def as_text(lines):
    rows = [HEAD] + [cells(line) for line in lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def as_markdown(lines):
    rows = [HEAD, ["---"] * len(HEAD)] + [cells(line) for line in lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def from_dict(entry):
    return Line(**{item.name: entry[item.name] for item in fields(Line) if item.name in entry})
