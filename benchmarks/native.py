"""The native kernel's table into this repository's results: `python -m benchmarks.native [options]`.

`videosieve bench` makes the same table from an installation; what it measures is `videosieve/bench/native.py`.
"""

from pathlib import Path

from videosieve.bench.native import main

RESULTS = Path(__file__).parent / "results" / "native.json"

if __name__ == "__main__":
    main(output=RESULTS)
