"""The CPU kernels' table into this repository's results: `python -m benchmarks.run [--quick] [--flex] [--output FILE]`.

`videosieve bench` makes the same table from an installation; what it measures is `videosieve/bench/cpu.py`.
"""

import argparse
import json
from pathlib import Path

from videosieve.bench.cpu import make_console, measure

RESULTS = Path(__file__).parent / "results" / "cpu.json"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the CPU kernels against dense attention.")
    parser.add_argument("--quick", action="store_true", help="few cases, few repeats, no flex_attention")
    parser.add_argument(
        "--flex", action=argparse.BooleanOptionalAction, help="compare with compiled flex_attention"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file to write")
    options = parser.parse_args()
    console = make_console()
    with_flex = not options.quick if options.flex is None else options.flex
    results = measure(console, quick=options.quick, with_flex=with_flex)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    console.print(f"written to {options.output}")


if __name__ == "__main__":
    main()
