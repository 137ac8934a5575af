"""Counts the instructions of the inner benchmarks and holds them against those of instructions.json.

Counts do not depend on the load of the machine, so this can decide. They do depend on the compiler and on what the processor
has (the C library chooses by it): where these are others than the recorded ones, nothing is compared, and the exit code is 77.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import BUILD

HERE = Path(__file__).resolve().parent
PROGRAM = BUILD / "bench_inner"
RECORD = HERE / "instructions.json"
GROWTH = 1.10  # more than this fails


def environment():
    compiler = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    flags = set(next((line for line in open("/proc/cpuinfo") if line.startswith("flags")), "").split())
    return f"g++ {compiler}, {platform.machine()}, {'AVX2' if 'avx2' in flags else 'no AVX2'}"


def count():
    """Instructions of one repetition, by the name of the case."""
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as place:
        done = subprocess.run(
            ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={place}/out", PROGRAM, "--count"],
            capture_output=True, text=True, timeout=600, env={"PATH": os.environ["PATH"]})
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        repetitions = {name: int(number) for name, number, _ in map(str.split, done.stdout.splitlines())}
        counts = {}
        for dump in Path(place).iterdir():
            text = dump.read_text()
            trigger = re.search(r"^desc: Trigger: Client Request: (\S+)$", text, re.M)
            if trigger:
                total = int(re.search(r"^(?:summary|totals): (\d+)$", text, re.M)[1])
                counts[trigger[1]] = total // repetitions[trigger[1]]
    if missing := repetitions.keys() - counts.keys():
        raise RuntimeError(f"not counted: {' '.join(sorted(missing))}")
    return {name: counts[name] for name in repetitions}


def compare(recorded, counted):
    """A line a case, and whether one of them fails."""
    lines, failed = [], False
    for name in list(recorded) + [name for name in counted if name not in recorded]:
        old, new = recorded.get(name), counted.get(name)
        if old is None or new is None:
            verdict = "NOT RECORDED" if old is None else "GONE"
            failed = True
        elif new > old * GROWTH:
            verdict, failed = "GREW", True
        else:
            verdict = "fewer: worth recording" if new * GROWTH < old else ""
        change = f"{(new / old - 1) * 100:+.1f} %" if old and new else ""
        lines.append(f"{name:<28} {old or '-':>10} {new or '-':>10} {change:>9}  {verdict}".rstrip())
    return lines, failed


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench instructions", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help=f"write what was counted to {RECORD.name}; say why in the commit")
    options = parser.parse_args()
    if options.record:
        RECORD.write_text(json.dumps({"environment": environment(), "instructions": count()}, indent=1) + "\n")
        print(f"{RECORD} is written")
        return 0
    record = json.loads(RECORD.read_text())
    if record["environment"] != environment():
        print(f"the figures are those of {record['environment']}, and this is {environment()}")
        return 77
    lines, failed = compare(record["instructions"], count())
    print(f"{'instructions of a repetition':<28} {'recorded':>10} {'now':>10}")
    print("\n".join(lines))
    if failed:
        print(f"\nA case may grow by a tenth. If more is meant: scripts/bench instructions --record, and commit {RECORD.name}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
