"""Counts what becomes of bad input: python -m benchmarks.robustness [--list]"""

import argparse
from collections import Counter

from benchmarks.robustness.trials import OUTCOMES, try_all

GOOD = OUTCOMES[:2]


def main() -> None:
    """Print a Markdown table: what was tried, answered, refused, and went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="print every trial that went wrong")
    listed = parser.parse_args().list
    rows = {"values in declared fields": Counter[str]()}
    for cls, name, value, outcome, said in try_all():
        rows["values in declared fields"][outcome] += 1
        if listed and outcome not in GOOD:
            print(f"{outcome}: {cls}.{name}={type(value).__name__}: {said[:200]}")
    print("| what | tried |", " | ".join(OUTCOMES), "|")
    print("| --- |", " | ".join(["---:"] * (len(OUTCOMES) + 1)), "|")
    for what, counts in rows.items():
        numbers = (counts.total(), *(counts[outcome] for outcome in OUTCOMES))
        print(f"| {what} |", " | ".join(f"{number:,}" for number in numbers), "|")


if __name__ == "__main__":
    main()
