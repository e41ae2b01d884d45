"""The table of `benchmarks.half_precision`: medians, density by pairs, fidelity against the first row."""

import torch

from benchmarks.half_precision import table
from videosieve.generation.generate import Clip
from videosieve.records import Record
from videosieve.trace import Trace


def clip(seconds, shade, density):
    dense = Record(0, 0, "cond", "dense", "", "native", 100, 1.0, milliseconds=500.0)
    sparse = Record(0, 1, "cond", "sparse", "", "native", 300, density, milliseconds=250.0)
    return Clip(torch.full((2, 3, 16, 16), shade), seconds, seconds, 2, Trace([dense, sparse]))


def test_rows_are_measured_against_the_first():
    lines = table({"dense": [clip(8.0, 0.5, 1.0)] * 3, "svg": [clip(s, 0.6, 0.5) for s in (1.0, 2.0, 9.0)]})
    dense, svg = lines.splitlines()[2:]
    assert dense == "| dense | 8.0 | 1.00 | 0.8 | 1.00 |  |"
    assert svg == "| svg | 2.0 | 4.00 | 0.8 | 0.62 | 20.0 |"
