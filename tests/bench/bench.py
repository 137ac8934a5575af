"""The table of docs/performance.md. Started by scripts/bench, which installs and builds what this needs."""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

import rows_files
import rows_forwarder
import rows_health
import rows_idle
import rows_output
import rows_run
import table
from harness import Options, Workspace

ROWS = {}
for module in (rows_run, rows_health, rows_output, rows_files, rows_forwarder, rows_idle):
    ROWS.update(module.ROWS)


def parse(arguments):
    rows = "\n".join(f"  {name:<10} {function.__doc__.strip()}" for name, function in ROWS.items())
    parser = argparse.ArgumentParser(prog="scripts/bench", formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description="Measures the daemon against floors and peers, in turn, on loopback alone.",
                                     epilog=f"rows (all of them by default):\n{rows}")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--quick", action="store_true", help="a fifth of the time, three pairs: to look, not to quote")
    parser.add_argument("--pairs", type=int, help="measurements of each side (7)")
    parser.add_argument("--json", type=Path, help="where to write the figures (build/bench.json)",
                        default=Path("build/bench.json"))
    options = parser.parse_args(arguments)
    unknown = [row for row in options.rows if row not in ROWS]
    if unknown:
        parser.error(f"no such row: {' '.join(unknown)}; there are: {' '.join(ROWS)}")
    return options


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} × {model}, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}"


def main():
    options = parse(sys.argv[1:])
    if options.quick:
        Options.pairs, Options.scale = 3, 0.2
    if options.pairs:
        Options.pairs = options.pairs
    lines, failed = [], []
    for name in options.rows or ROWS:
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
    print(table.as_text(lines))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({
        "machine": machine(), "pairs": Options.pairs, "quick": options.quick,
        "lines": [asdict(line) for line in lines]}, indent=1, ensure_ascii=False) + "\n")
    for message in failed:
        print(f"could not be measured: {message}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
