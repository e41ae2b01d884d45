"""Work is counted for the classes that plan knows how to call, whatever their arguments."""

import diffusers
import pytest

from videosieve.planning.flops import count_work

# class, config, latents, text, batch: layers, heads, head_dim and tokens as the models' papers and cards have them
CASES = {
    "AllegroTransformer3DModel": ({}, (22, 90, 160), 512, 2, (32, 24, 96, 79_200)),
    "ChronoEditTransformer3DModel": ({"in_channels": 36}, (8, 60, 104), 512, 1, (40, 40, 128, 12_480)),
    "AnyFlowTransformer3DModel": ({}, (21, 60, 104), 512, 2, (40, 40, 128, 32_760)),
    "CosmosTransformer3DModel": ({"concat_padding_mask": False}, (24, 88, 160), 512, 1, (28, 32, 128, 84_480)),
    "ConsisIDTransformer3DModel": (
        {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True},
        (13, 60, 90), 226, 2, (42, 48, 64, 17_776),
    ),
    "Kandinsky5Transformer3DModel": ({"model_dim": 1792}, (31, 64, 96), 256, 1, (32, 28, 64, 47_616)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_attention_is_four_times_tokens_squared_times_width_per_layer(name: str):
    if not hasattr(diffusers, name):
        pytest.skip(f"diffusers {diffusers.__version__} has no {name}")
    config, latents, text, batch, (layers, heads, head_dim, tokens) = CASES[name]
    work = count_work(name, config, latents, text, batch)
    assert (work.layers, work.heads, work.head_dim, work.tokens) == (layers, heads, head_dim, tokens)
    assert work.attention == 4 * batch * tokens**2 * heads * head_dim * layers
    assert work.rest > 2 * work.parameters * 0.5 * tokens  # most weights are used by every token
