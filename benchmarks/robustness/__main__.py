"""Counts what becomes of bad input: python -m benchmarks.robustness [--list]"""

import argparse
from collections import Counter
from collections.abc import Iterator

from benchmarks.robustness.trials import OUTCOMES, try_all, try_damages, try_encodings

GOOD = OUTCOMES[:2]


DAMAGES = 100  # random damages of each sort and kind of file


def _trials() -> Iterator[tuple[str, str, str, str]]:
    """What is tried, the trial, its outcome, and what was said."""
    for cls, name, value, outcome, said in try_all():
        yield "values in declared fields", f"{cls}.{name}={type(value).__name__}", outcome, said
    for kind, name, outcome, said in try_encodings():
        yield "text files in other encodings", f"{kind}, {name}", outcome, said
    for kind, name, outcome, said in try_damages(DAMAGES):
        yield "damaged files", f"{kind}, {name}", outcome, said


def main() -> None:
    """Print a Markdown table: what was tried, answered, refused, and went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="print every trial that went wrong")
    listed = parser.parse_args().list
    rows: dict[str, Counter[str]] = {}
    for what, trial, outcome, said in _trials():
        rows.setdefault(what, Counter())[outcome] += 1
        if listed and outcome not in GOOD:
            print(f"{outcome}: {trial}: {said[:200]}")
    print("| what | tried |", " | ".join(OUTCOMES), "|")
    print("| --- |", " | ".join(["---:"] * (len(OUTCOMES) + 1)), "|")
    for what, counts in rows.items():
        numbers = (counts.total(), *(counts[outcome] for outcome in OUTCOMES))
        print(f"| {what} |", " | ".join(f"{number:,}" for number in numbers), "|")


if __name__ == "__main__":
    main()
