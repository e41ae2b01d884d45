"""Every supported class as a tiny transformer; what the installed diffusers lacks is skipped by name."""

from collections.abc import Iterator
from typing import Any

import diffusers
import pytest
import torch

from videosieve.run import Run
from videosieve.testing.models import CASES, TinyModel

SPARSE: dict[str, Any] = {
    "density": 0.4, "min_tokens": 0, "dense_steps": 0, "dense_layers": 0, "block": 8, "steps": 2,
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(name: str) -> TinyModel:
    """A tiny model, or the test is skipped where diffusers has no such class yet."""
    case = CASES[name]
    if not case.is_there:
        pytest.skip(f"diffusers {diffusers.__version__} has no {case.cls}")
    return case.build()


@pytest.fixture(params=list(CASES))
def tiny(request: pytest.FixtureRequest) -> TinyModel:
    """Each model in turn."""
    return build(request.param)


def noise_of(tiny: TinyModel) -> float:
    """How much the output may differ where attention only rounds otherwise.

    Attention over n keys rounds to about sqrt(n) units in the last place of its dtype. Four times what a disturbance of
    the latents by 2^6 such units does to the output is the bound; models that round inside (to bfloat16) round
    otherwise then as well. A wrong token is 2^18 times as far off in fp32.
    """
    eps = torch.finfo(tiny.dtype).eps
    untouched, found = tiny(), 0.0
    for seed in range(3):
        changed = tiny.disturbed()
        generator = torch.Generator().manual_seed(seed)
        for name, value in tiny.arguments.items():
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim > 2:
                signs = torch.randn(value.shape, generator=generator, dtype=torch.float64).sign()
                changed[name] = (value.double() * (1 + 64 * eps * signs)).to(value.dtype)
            else:
                changed[name] = value
        found = max(found, float((tiny(**changed) - untouched).abs().max()))
    return 4 * found


def steps_of(run: Run) -> list[tuple[int, int]]:
    """Generation and step of every forward, in order of first appearance."""
    return list(dict.fromkeys((record.generation, record.step) for record in run.trace.records))
