"""`videosieve plan`: what a generation will cost and what sparsity can gain, from the config alone."""

from typing import Annotated

import typer

from videosieve.cli import options
from videosieve.cli.console import out, plain_table, say

PETA = 1e15


def plan(
    model: Annotated[
        str,
        typer.Option(
            help="hunyuanvideo, cogvideox-1.5-5b, wan2.1-14b, wan2.1-1.3b, shapes-s, or a folder in diffusers' format."
        ),
    ] = "hunyuanvideo",
    method: options.Method = "svg",
    density: options.Density = None,
    settings: options.Settings = None,
    steps: options.Steps = None,
    frames: options.Frames = None,
    height: options.Height = None,
    width: options.Width = None,
) -> None:
    """Count tokens, work and memory of a generation, and the most that sparse attention can gain. Loads no weights.

    videosieve plan --model hunyuanvideo --frames 129 --height 720 --width 1280 --method svg --density 0.3
    """
    from videosieve.generation import recipes
    from videosieve.generation.budget import make_budget

    recipe = recipes.make_recipe(method, None, settings or ())
    budget = make_budget(model, recipe, frames, height, width, steps, density)
    work, giga = budget.work, 2**30
    table = plain_table("what", "how much", right=("how much",))
    count, rows, columns = budget.size
    lines = {
        "video": f"{count} frames of {columns} × {rows} pixels",
        "tokens": f"{work.tokens:,} ({work.grid.frames} × {work.grid.height} × {work.grid.width} video, "
        f"{work.tokens - work.grid.tokens} text)",
        "self-attentions": f"{work.layers} layers of {work.heads} heads × {work.head_dim}",
        "attention, one step": f"{budget.attention_per_step / PETA:.3f} PFLOPs",
        "everything else, one step": f"{budget.rest_per_step / PETA:.3f} PFLOPs",
        "attention's share": f"{work.share:.1%}",
        f"whole video, {budget.steps} steps": f"{budget.total / PETA:.1f} PFLOPs",
        "weights, bfloat16": f"{budget.weight_bytes / giga:.2f} GiB",
        "q, k, v, output of one attention": f"{budget.attention_bytes / giga:.2f} GiB",
        f"run density of {recipe.name} at density {budget.density:g}": f"{budget.run_density:.3f}",
        "speed-up at most (Amdahl, by work)": f"{budget.bound:.2f}×",
    }
    for name, value in lines.items():
        table.add_row(name, value)
    out.print(table)
    say("work is counted, not measured; a real kernel reaches a part of the bound")
