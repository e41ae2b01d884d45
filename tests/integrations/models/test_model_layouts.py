"""Claims about which token is which, for every supported class."""

import torch

from videosieve.integrations.diffusers import sparsify
from videosieve.layout import VideoLayout


def calls_of(tiny, arguments=None):
    """The calls that a run is handed in one forward."""
    calls = []
    with sparsify(tiny.transformer, "dense") as run:
        attend = run.attend
        run.attend = lambda call, owner="": (calls.append(call), attend(call, owner))[1]
        tiny(**(arguments or {}))
    return calls


def expected_layouts(tiny):
    parts = []
    for text in tiny.text:
        first = {"text_first": text} if tiny.place == "first" else {"text_last": text}
        layout = VideoLayout.of(*tiny.grid, **first, extra_last=tiny.after)
        parts.append(layout)
    return parts


def test_the_layout_is_the_model_s_own_for_every_batch_item(tiny):
    calls = calls_of(tiny)
    layouts = expected_layouts(tiny)
    assert [call.layout for call in calls] == layouts * len(tiny.attentions)
    assert [call.site.items for call in calls[: len(layouts)]] == (
        [(item,) for item in range(len(layouts))] if len(layouts) > 1 else [()]
    )


def test_a_frame_of_latents_is_the_rows_that_the_layout_says(tiny):
    """Values of the first layer depend on their own token only, so a disturbed frame shows where its tokens are."""
    before, after = (calls_of(tiny, arguments)[0] for arguments in (None, tiny.disturbed()))
    moved = (before.v != after.v).any(dim=(0, 1, 3)).nonzero().flatten()
    layout = before.layout
    start = layout.video.start + layout.grid.tokens_per_frame
    assert moved.tolist() == list(range(start, start + layout.grid.tokens_per_frame))
    assert layout.grid.tokens_per_frame < layout.grid.tokens


def test_padding_changes_no_latent(tiny):
    """What stands in the padding of a text is nobody's business."""
    if tiny.padded is None:
        return
    noise = {
        name: value + 10 * torch.randn_like(value) * (1 - tiny.arguments["encoder_attention_mask"])[..., None]
        for name, value in tiny.arguments.items()
        if name == "encoder_hidden_states"
    }
    with sparsify(tiny.transformer, "svg", min_tokens=0, dense_steps=0, steps=1, density=0.4, block=8):
        assert torch.equal(tiny(), tiny(**noise))
