"""inspect_attention under guidance: the conditional item is looked at, in whatever order and batches items come."""

import inspect
import sys
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import diffusers
import pytest
import torch

from videosieve import Recipe
from videosieve.integrations.diffusers import describe, inspect_attention, inspection
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.testing.models import framepack, hunyuanvideo15, mochi
from videosieve.testing.models.pipelines.ltx import ltx2_call, ltx_call, tiny_ltx, tiny_ltx2
from videosieve.testing.models.pipelines.prompted import PROMPTED
from videosieve.testing.models.pipelines.usual import PIPELINES
from videosieve.testing.pipelines import (
    cogvideox_call,
    hunyuanvideo_call,
    tiny_cogvideox,
    tiny_hunyuanvideo,
    tiny_wan,
    wan_call,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:In CPU autocast"),  # Mochi asks for it in fp32
    pytest.mark.filterwarnings("ignore:__array"),  # Helios hands tensors to numpy
    pytest.mark.filterwarnings(
        "ignore:generation 0 was dense"
    ),  # staggered frames need more steps than announced
]
SCALE = {"guidance_scale": 3.0}
TRUE = {"true_cfg_scale": 3.0}


@dataclass
class Guided:
    """A pipeline, and how its guidance is switched on.

    Attributes:
        make: Makes pipeline and arguments.
        on: Arguments with guidance; their scale is 1 without.
        cls: The pipeline's class, which an older diffusers may lack.
        also: Further arguments that are off without guidance.
    """

    make: Any
    on: dict[str, Any] = field(default_factory=lambda: SCALE)
    cls: str = ""
    also: dict[str, Any] = field(default_factory=dict)


def nano():
    call = {"num_frames": 4, "num_inference_steps": 3, "output_type": "latent"}
    call |= {"prompt": "a red circle moves left", "generator": torch.Generator()}
    return ShapesPipeline.from_networks(build_networks("shapes-nano")), call


def made(make, call):
    return lambda: (make(), call())


CASES = {
    "hunyuanvideo": Guided(made(partial(tiny_hunyuanvideo, layers=2), hunyuanvideo_call), TRUE),
    "cogvideox 1.0": Guided(made(tiny_cogvideox, cogvideox_call)),
    "cogvideox 1.5": Guided(made(partial(tiny_cogvideox, version="1.5"), cogvideox_call)),
    "cogvideox, image": Guided(
        made(partial(tiny_cogvideox, image=True), partial(cogvideox_call, image=True))
    ),
    "wan 2.1": Guided(made(tiny_wan, wan_call)),
    "wan 2.2": Guided(made(partial(tiny_wan, two=True), wan_call)),
    "shapes": Guided(nano, TRUE),
    "mochi": Guided(made(mochi.tiny_pipeline, mochi.pipeline_call)),
    "hunyuanvideo 1.5": Guided(
        made(hunyuanvideo15.tiny_pipeline, hunyuanvideo15.pipeline_call), {}, "HunyuanVideo15Pipeline"
    ),
    "framepack": Guided(
        made(framepack.tiny_pipeline, lambda: framepack.pipeline_call(true_cfg=True) | {"num_frames": 9}),
        TRUE,
    ),
    "ltx": Guided(made(tiny_ltx, ltx_call)),
    "ltx 2, perturbed passes": Guided(
        made(tiny_ltx2, ltx2_call), SCALE, "LTX2Pipeline", {"stg_scale": 1.0, "modality_scale": 3.0}
    ),
    **{name: Guided(case.build, SCALE, case.cls) for name, case in PIPELINES.items()},
    **{
        name: Guided(case.build, {} if name == "motif" else SCALE, case.cls)
        for name, case in PROMPTED.items()
    },
}


@pytest.fixture(autouse=True)
def short_template(monkeypatch):
    """Kandinsky 6 has its template in its module, with a crop that counts Qwen's tokens."""
    if hasattr(diffusers, "Kandinsky6TI2VAPipeline"):
        module = sys.modules[diffusers.Kandinsky6TI2VAPipeline.__module__]
        monkeypatch.setattr(module, "_PROMPT_TEMPLATE", "the sun {} sleeps")
        monkeypatch.setattr(module, "_QWEN_CROP_START", 2)


def without_prompt(pipe):
    """A pipeline whose embeddings are given: the prompt that an inspection hands over is dropped."""
    cls = type(pipe)

    def __call__(self, prompt=None, **given):
        del prompt
        return cls.__call__(self, prompt=None, **given)

    pipe.__class__ = type(
        cls.__name__, (cls,), {"__call__": __call__, "__signature__": inspect.signature(cls.__call__)}
    )
    return pipe


def build(case):
    if case.cls and not hasattr(diffusers, case.cls):
        pytest.skip(f"diffusers {diffusers.__version__} has no {case.cls}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe, call = case.make()
    pipe.set_progress_bar_config(disable=True)
    return (without_prompt(pipe) if any("prompt_embeds" in name for name in call) else pipe), call


def look(pipe, call, recipe, **changes):
    given = call | changes
    seeds = given["generator"] if isinstance(given["generator"], list) else [given["generator"]]
    for seed in seeds:
        seed.manual_seed(0)
    prompt = given.pop("prompt", None) or "a red cat runs"
    return inspect_attention(
        pipe, prompt, layers=range(describe(pipe)[0].layers), heads=[0], steps=[0], recipe=recipe, **given
    )


def apart(one, other):
    """The largest difference of what two inspections show; infinite where their texts differ in length."""
    seen = [(one.atlas, other.atlas)]
    seen += [
        (reading.view.attention, other.readings[spot].view.attention)
        for spot, reading in one.readings.items()
    ]
    return max(float((a - b).abs().max()) if a.shape == b.shape else torch.inf for a, b in seen)


@pytest.mark.parametrize("recipe", [None, Recipe.of("dense")], ids=["watched", "computed"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_shown_is_the_conditional_branch(name, recipe, monkeypatch):
    """At step 0 the latents are those of an unguided run, which computes the conditional branch alone."""
    case = CASES[name]
    pipe, call = build(case)
    negatives = {key: call[f"negative_{key}"] for key in call if f"negative_{key}" in call}
    words = {} if negatives else {"negative_prompt": "red" if name == "shapes" else "sea"}
    places, measure = [], inspection.measure_heads
    with monkeypatch.context() as patch:
        patch.setattr(
            inspection,
            "measure_heads",
            lambda one, *rest: (places.append(one.site.layer), measure(one, *rest))[1],
        )
        guided = look(pipe, call, recipe, **case.on, **case.also, **words)
    assert places == list(range(describe(pipe)[0].layers))  # each once: no perturbed pass writes over it
    off = dict.fromkeys(case.on, 1.0) | ({"stg_scale": 0.0, "modality_scale": 1.0} if case.also else {})
    if not case.on:
        pipe.guider._enabled = False
    alone = look(pipe, call, recipe, **off)
    other = look(pipe, call, recipe, **off, **(negatives or {"prompt": words["negative_prompt"]}))
    assert not guided.missing
    far, near = (apart(alone, one) for one in (other, guided))
    assert far > 1e-6  # else it would not show
    assert near < 0.02 * far
