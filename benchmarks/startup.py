"""How long the shell waits for `galenic --help`: wall time of a fresh process, median of several; bar: 0.5 s."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from records import keep, verdict

BAR = 0.5  # seconds


def seconds_of_help() -> float:
    """One start of the installed command, from fork to exit."""
    command = Path(sys.executable).with_name("galenic")
    began = time.perf_counter()
    subprocess.run([command, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    seconds_of_help()  # the first start reads from disk
    taken = [round(seconds_of_help(), 4) for _ in range(given.runs)]
    found = median(taken)
    print(f"galenic --help: median {found:.3f} s of {taken}; bar {BAR} s: {verdict(found < BAR)}")
    keep("startup", {"median": found, "seconds": taken, "bar": BAR, "met": found < BAR}, wanted=given.record)


if __name__ == "__main__":
    main()
