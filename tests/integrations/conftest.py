"""Every supported model as a tiny random pipeline or transformer, with a way to generate from it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import pytest
import torch

from videosieve.testing.pipelines import (
    cogvideox_call,
    hunyuanvideo_call,
    tiny_cogvideox,
    tiny_hunyuanvideo,
    tiny_hunyuanvideo_transformer,
    tiny_wan,
    wan_call,
)

SPARSE = {"density": 0.4, "min_tokens": 0, "dense_steps": 1, "dense_layers": 0, "block": 8}


@dataclass
class Case:
    """One model.

    Attributes:
        target: What is handed to sparsify.
        generate: Draws a video of three steps from it.
        branches: Branches of every step, in order.
        layers: Self-attentions that run per forward.
        options: Further arguments that sparsify needs for this target.
    """

    target: Any
    generate: Callable[[], torch.Tensor]
    branches: tuple[str, ...]
    layers: int = 2
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def untouched(self) -> torch.Tensor:
        return self.generate()


def of_pipeline(pipe: Any, make_call: Callable[[], dict[str, Any]], branches: tuple[str, ...]) -> Case:
    pipe.set_progress_bar_config(disable=True)
    return Case(pipe, lambda: pipe(**make_call()).frames, branches)


def of_transformer(condition: str) -> Case:
    """HunyuanVideo image to video: its pipeline needs LLaVA, so the denoising loop is written here."""
    torch.manual_seed(0)
    transformer = tiny_hunyuanvideo_transformer(condition=condition)

    @torch.no_grad()
    def generate() -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        latents = torch.randn(2, 4, 3, 4, 6, generator=generator)
        image = torch.randn(2, transformer.config.in_channels - 4, 3, 4, 6, generator=generator)
        text, pooled = torch.randn(2, 9, 16, generator=generator), torch.randn(2, 8, generator=generator)
        mask = torch.arange(9) < torch.tensor([[5], [9]])
        for time in (900, 500, 100):
            flow = transformer(
                torch.cat([latents, image], dim=1),
                torch.tensor([time] * 2),
                text,
                mask,
                pooled,
                return_dict=False,
            )[0]
            latents = latents - flow / 3
        return latents

    return Case(transformer, generate, ("cond",), options={"steps": 3})


CASES: dict[str, Callable[[], Case]] = {
    "hunyuanvideo": lambda: of_pipeline(tiny_hunyuanvideo(), hunyuanvideo_call, ("cond",)),
    "hunyuanvideo, two prompts, true CFG": lambda: of_pipeline(
        tiny_hunyuanvideo(),
        partial(
            hunyuanvideo_call,
            ["a cat", "a red dog runs over the sea"],
            true_cfg_scale=3.0,
            negative_prompt="under",
        ),
        ("cond", "uncond"),
    ),
    "hunyuanvideo token_replace": partial(of_transformer, "token_replace"),
    "hunyuanvideo latent_concat": partial(of_transformer, "latent_concat"),
    "cogvideox 1.0": lambda: of_pipeline(tiny_cogvideox(), cogvideox_call, ("cond_uncond",)),
    "cogvideox 1.5": lambda: of_pipeline(tiny_cogvideox(version="1.5"), cogvideox_call, ("cond_uncond",)),
    "cogvideox 1.0 image": lambda: of_pipeline(
        tiny_cogvideox(image=True), partial(cogvideox_call, image=True), ("cond_uncond",)
    ),
    "cogvideox 1.5 image": lambda: of_pipeline(
        tiny_cogvideox(version="1.5", image=True), partial(cogvideox_call, image=True), ("cond_uncond",)
    ),
    "wan 2.1": lambda: of_pipeline(tiny_wan(), wan_call, ("cond", "uncond")),
    "wan 2.1 image": lambda: of_pipeline(
        tiny_wan(image=True), partial(wan_call, image=True), ("cond", "uncond")
    ),
    "wan 2.2": lambda: of_pipeline(tiny_wan(two=True), wan_call, ("cond", "uncond")),
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors: more threads only wait for one another, for minutes where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


@pytest.fixture(params=["hunyuanvideo", "cogvideox 1.0", "wan 2.1"])
def family(request: pytest.FixtureRequest) -> Callable[[], Case]:
    """A maker of fresh pipelines of one family."""
    return CASES[request.param]


@pytest.fixture
def wan() -> Case:
    return CASES["wan 2.1"]()


@pytest.fixture
def cogvideox() -> Case:
    return CASES["cogvideox 1.0"]()


@pytest.fixture
def hunyuanvideo() -> Case:
    return CASES["hunyuanvideo"]()


@pytest.fixture
def sparse() -> dict[str, Any]:
    """Overrides that make a tiny pipeline really sparse."""
    return dict(SPARSE)
