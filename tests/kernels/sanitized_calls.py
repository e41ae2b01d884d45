"""Generated calls through the sanitized native library: `python sanitized_calls.py LIBRARY CALLS`.

Runs in a process of its own, into which the sanitizer's runtime is loaded first: torch's memory then comes from it, and
a read or write past a tensor's end ends the process. Prints how many calls were answered and how many refused.
"""

import sys
import warnings
from pathlib import Path
from random import Random

import torch

from videosieve.errors import VideosieveError
from videosieve.kernels import native_library
from videosieve.testing.kernel_inputs import draw_call
from videosieve.testing.kernel_spoils import spoil

OPS = (
    *("block_sparse_attention", "dense_attention", "sampled_attention", "block_mass", "antidiagonal_scores"),
    *("compensated_attention", "pool_blocks", "block_moments", "deal_budget", "centroid_mass"),
)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def main() -> None:
    library, count = Path(sys.argv[1]), int(sys.argv[2])
    native_library.PATH = library
    if (reason := native_library.refuse_library()) is not None:
        raise SystemExit(reason)
    warnings.simplefilter("ignore")
    answered = refused = 0
    for seed in range(count):
        for number, op in enumerate(OPS):
            source = Random(seed * len(OPS) + number)
            try:
                call = draw_call(source, op, DTYPES)
                call = spoil(source, call) if source.random() < 0.5 else call
                call.judge(call.run("native"), "native")
                answered += 1
            except VideosieveError:
                refused += 1
    sys.stdout.write(f"{answered} {refused}\n")


with torch.no_grad():
    main()
