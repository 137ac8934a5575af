"""The table of docs/performance.md. Started by scripts/bench, which installs and builds what this needs."""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import plot
import rows_files
import rows_forwarder
import rows_grows
import rows_health
import rows_idle
import rows_output
import rows_run
import table
from harness import ROOT, Options, Workspace, put_between

ROWS = {}
for module in (rows_run, rows_health, rows_output, rows_files, rows_forwarder, rows_idle, rows_grows):
    ROWS.update(module.ROWS)

DOCUMENT = ROOT / "docs/performance.md"
RECORD = ROOT / "docs/performance/table.json"
PICTURE = ROOT / "docs/performance/table.svg"
BEGIN, END = "<!-- table: written by scripts/bench --record -->\n", "<!-- end of table -->\n"


def parse(arguments):
    rows = "\n".join(f"  {name:<12} {function.__doc__.strip()}" for name, function in ROWS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures the daemon against floors and peers, in turn, on loopback alone.",
        epilog=f"rows (all of them by default):\n{rows}\n\nalso: scripts/bench growth, scripts/bench instructions")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--quick", action="store_true", help="a fifth of the time, three pairs: to look, not to quote")
    parser.add_argument("--pairs", type=int, help="measurements of each side (7)")
    parser.add_argument("--json", type=Path, help="where to write the figures (build/bench.json)",
                        default=ROOT / "build/bench.json")
    parser.add_argument("--record", action="store_true",
                        help="put the rows into docs/performance.md, and into the figures and the picture of docs/performance/")
    options = parser.parse_args(arguments)
    if unknown := [row for row in options.rows if row not in ROWS]:
        parser.error(f"no such row: {' '.join(unknown)}; there are: {' '.join(ROWS)}")
    if options.record and options.quick:
        parser.error("figures of --quick are not for the record")
    return options


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} × {model}, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}"


def measure(rows):
    lines, failed = [], []
    for name in rows:
        begin = time.monotonic()
        print(f"{name} …", end=" ", file=sys.stderr, flush=True)
        workspace = Workspace()
        try:
            lines += ROWS[name](workspace)
        except Exception as error:  # One row that cannot be measured must not cost the others.
            failed.append(f"{name}: {error}")
        finally:
            workspace.close()
        print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return lines, failed


def as_json(lines, pairs):
    rounded = lambda value: float(f"{value:.5g}") if isinstance(value, float) else value
    kept = []
    for line in lines:
        entry = {key: rounded(value) for key, value in line.as_dict().items()}
        entry["samples"] = {side: [rounded(value) for value in values] for side, values in line.samples.items()}
        kept.append(json.dumps(entry, ensure_ascii=False))
    return (f'{{"machine": {json.dumps(machine(), ensure_ascii=False)}, "date": "{time.strftime("%Y-%m-%d")}", '
            f'"pairs": {pairs}, "lines": [\n' + ",\n".join(kept) + "\n]}\n")


def record(lines, pairs):
    """The measured rows take the place of their old figures; the others stay."""
    measured = {line.row for line in lines}
    if RECORD.exists():
        lines = [line for line in map(table.from_dict, json.loads(RECORD.read_text())["lines"])
                 if line.row not in measured] + lines
    lines.sort(key=lambda line: list(ROWS).index(line.row))
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(as_json(lines, pairs))
    PICTURE.write_text(plot.targets(lines))
    note = f"{time.strftime('%-d %B %Y')}, {machine()}, the median of {pairs} pairs:\n\n"
    put_between(DOCUMENT, BEGIN, END, note + table.as_markdown(lines) + "\n\n")


def main():
    options = parse(sys.argv[1:])
    if options.quick:
        Options.pairs, Options.scale = 3, 0.2
    if options.pairs:
        Options.pairs = options.pairs
    lines, failed = measure(options.rows or ROWS)
    print(table.as_text(lines))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(as_json(lines, Options.pairs))
    if options.record:
        record(lines, Options.pairs)
    for message in failed:
        print(f"could not be measured: {message}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
