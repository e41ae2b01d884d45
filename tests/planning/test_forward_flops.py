"""Work counted without memory is what a real forward of every tiny model computes."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import diffusers
import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from videosieve.integrations.diffusers.models import MODELS
from videosieve.planning.flops import count_forward
from videosieve.testing.models import CASES as TINY
from videosieve.testing.models import (
    TinyModel,
    cosmos3,
    easyanimate,
    framepack,
    helios,
    hunyuanvideo15,
    ltx,
    minimax_h3,
    mochi,
    motif,
)
from videosieve.testing.models.forwards import Forward
from videosieve.testing.models.sequences import SequenceModel

_SEQUENCES = (easyanimate, framepack, helios, hunyuanvideo15, mochi, motif)
BUILDERS: dict[str, tuple[str, Any]] = {
    **{name: (case.cls, case.build) for name, case in TINY.items()},
    **{name: (case.cls, case.build) for module in _SEQUENCES for name, case in module.CASES.items()},
    **{
        make.__name__: ("LTXVideoTransformer3DModel", make)
        for make in (ltx.ltx, ltx.ltx_condition, ltx.ltx_window)
    },
    **{
        make.__name__: ("LTX2VideoTransformer3DModel", make)
        for make in (ltx.ltx2, ltx.ltx2_newer, ltx.ltx2_keyframes)
    },
    "minimax-h3": ("MiniMaxH3Transformer3DModel", minimax_h3.keyframe),
    "minimax-h3, references": ("MiniMaxH3Transformer3DModel", minimax_h3.references),
    "cosmos 3": ("Cosmos3OmniTransformer", cosmos3.video),
    "cosmos 3, odd sides": ("Cosmos3OmniTransformer", cosmos3.odd_sides),
    "cosmos 3, picture and sound": ("Cosmos3OmniTransformer", cosmos3.picture_and_sound),
}


class Case(NamedTuple):
    """A transformer, its arguments, its video self-attentions, and pairs of tokens in all of them by hand."""

    model: Any
    arguments: dict[str, Any]
    attentions: list[str]
    pairs: int


def build(name: str) -> Case:
    cls, make = BUILDERS[name]
    if not hasattr(diffusers, cls):
        pytest.skip(f"diffusers {diffusers.__version__} has no {cls}")
    made = make()
    if isinstance(made, TinyModel):
        others = made.before + made.after + torch.Size(made.grid).numel()
        batch = made.arguments["hidden_states"].shape[0]
        tokens = [others + text for text in (made.text if len(made.text) > 1 else made.text * batch)]
        pairs = len(made.attentions) * sum(count**2 for count in tokens)
        return Case(made.transformer, made.arguments, made.attentions, pairs)
    if isinstance(made, SequenceModel):
        batch = made.arguments["hidden_states"].shape[0]
        pairs = sum((len(items) or batch) * layout.tokens**2 for _, items, layout in made.calls())
        return Case(made.transformer, made.arguments, made.attentions, pairs)
    assert isinstance(made, Forward)
    tokens = made.layout.tokens
    given = made.inputs.get("hidden_states")
    batch, missing = (1, made.inputs["und_len"]) if given is None else (given.shape[0], 0)
    pairs = len(made.attentions) * batch * (tokens - missing) * tokens
    return Case(made.model, made.inputs, list(made.attentions), pairs)


@contextmanager
def attention_work(model: Any) -> Iterator[Counter[str]]:
    """Operations of both products of every attention, by module; causal ones, of text alone, under another name."""
    found: Counter[str] = Counter()
    inside = [""]
    original = F.scaled_dot_product_attention

    def spy(query: Any, key: Any, *args: Any, **options: Any) -> Any:
        name = inside[0] + (" causal" if options.get("is_causal") else "")
        found[name] += 4 * query.numel() * key.shape[-2]
        return original(query, key, *args, **options)

    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: inside.__setitem__(0, name))
        for name, module in model.named_modules()
        if hasattr(module, "processor")
    ]
    F.scaled_dot_product_attention = spy
    try:
        yield found
    finally:
        F.scaled_dot_product_attention = original
        for hook in hooks:
            hook.remove()


@pytest.mark.filterwarnings("ignore:In CPU autocast")  # Mochi asks for fp32 there
@pytest.mark.parametrize("name", BUILDERS)
def test_a_forward_without_memory_counts_what_the_real_one_computes(name: str):
    case = build(name)
    counter = FlopCounterMode(display=False)
    with attention_work(case.model) as found, sdpa_kernel(SDPBackend.MATH), torch.no_grad(), counter:
        case.model(**case.arguments, return_dict=False)
    padded = sum(found[attention] for attention in case.attentions)
    assert all(found[attention] for attention in case.attentions)

    row = MODELS[type(case.model).__name__]
    work = count_forward(row, case.model.to("meta"), case.arguments)
    assert work.layers == len(case.attentions)
    assert work.attention == 4 * case.pairs * work.heads * work.head_dim
    assert work.rest == counter.get_total_flops() - padded


def test_every_class_has_a_tiny_forward_here():
    assert {cls for cls, _ in BUILDERS.values()} == {row.name for row in MODELS.values() if not row.dense}
