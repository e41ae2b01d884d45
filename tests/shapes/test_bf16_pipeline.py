"""What must be exact is exact where a shapes model computes in bf16: times of the noise, and rotary positions."""

import torch

from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.shapes.weights import cast


def test_times_and_positions_stay_fp32_in_bf16():
    pipe = cast(ShapesPipeline.from_networks(build_networks("shapes-nano")), torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    times, positions, inputs = [], [], []
    transformer = pipe.transformer
    hooks = [
        transformer.time_text_embed.time_proj.register_forward_hook(
            lambda _m, args, _o: times.append(args[0])
        ),
        transformer.rope.register_forward_hook(lambda _m, _a, tables: positions.extend(tables)),
        transformer.register_forward_hook(
            lambda _m, args, kwargs, _o: inputs.append(kwargs["hidden_states"]), with_kwargs=True
        ),
    ]
    generator = torch.Generator().manual_seed(0)
    pipe("a large red circle moves left", num_frames=2, num_inference_steps=7, generator=generator)
    for hook in hooks:
        hook.remove()
    assert {x.dtype for x in inputs} == {torch.bfloat16}
    assert {x.dtype for x in times} == {x.dtype for x in positions} == {torch.float32}
    seen = torch.cat(times).unique()
    assert torch.equal(seen, pipe.scheduler.timesteps.float().unique())
    assert not torch.equal(seen, seen.bfloat16().float())  # rounded, they would be others
