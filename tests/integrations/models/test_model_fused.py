"""Fused QK-norm and rotary positions for every class whose processor is one of those, or a copy of one."""

import pytest
import torch
from conftest import SPARSE, build, noise_of  # type: ignore[import-not-found]

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers import describe, sparsify
from videosieve.testing.models.tiny import copy_as

ALIKE = [
    "hunyuanvideo",
    "cogvideox 1.5",
    "consisid",
    "wan",
    "wan vace",
    "wan animate",
    "chronoedit",
    "skyreels",
]


def in_fp32(tiny):
    tiny.dtype = torch.float32
    tiny.transformer.float()
    tiny.arguments = copy_as(tiny.arguments, torch.float32)
    return tiny


@pytest.mark.parametrize("name", ALIKE)
def test_fused_is_the_model_s_own_code_to_rounding(name):
    tiny = in_fp32(build(name))
    untouched, bound = tiny(), noise_of(tiny)
    with sparsify(tiny.transformer, "svg", **{**SPARSE, "density": 1.0}, fused=True) as run:
        output = tiny()
        processors = [
            type(m.processor).__mro__ for m in next(iter(describe(tiny.transformer))).attentions.values()
        ]
    assert all(any(cls.__name__.startswith("Fused") for cls in mro) for mro in processors)
    assert run.summary().sparse_calls == run.summary().calls > 0
    assert float((output - untouched).abs().max()) <= bound


@pytest.mark.parametrize("name", ["anyflow", "kandinsky 5", "allegro"])
def test_what_is_not_fused_is_named_with_its_module(name):
    tiny = build(name)
    processor = type(tiny.transformer.get_submodule(tiny.attentions[0]).processor)
    short = f"{processor.__module__.rpartition('.')[2]}.{processor.__name__}"
    with pytest.raises(IntegrationError, match=f"transformer has {short}"):
        sparsify(tiny.transformer, "svg", **SPARSE, fused=True)
