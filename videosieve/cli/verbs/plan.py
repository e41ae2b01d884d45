"""`videosieve plan`: what a generation will cost and what sparsity can gain, from the config alone."""

from typing import Annotated

import typer

from videosieve.cli import options
from videosieve.cli.console import out, plain_table, say, scaled


def plan(
    model: Annotated[
        str,
        typer.Option(
            help="hunyuanvideo, wan2.1-14b, mochi-1, shapes-s, … (a name that is none of them lists all), or a folder "
            "in diffusers' format."
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
    from videosieve.generation.recipe_settings import make_recipe
    from videosieve.planning.budget import make_budget, tokens_in_words

    recipe = make_recipe(method, None, settings or ())
    budget = make_budget(model, recipe, frames, height, width, steps, density)
    work = budget.work
    table = plain_table("what", "how much", right=("how much",))
    count, rows, columns = budget.size
    lines = {
        "video": f"{count} frames of {columns} × {rows} pixels",
        "tokens": tokens_in_words(work.layout),
        "self-attentions": f"{work.layers} layers of {work.heads} heads × {work.head_dim}",
        "attention, one step": scaled(budget.attention_per_step, "FLOPs"),
        "everything else, one step": scaled(budget.rest_per_step, "FLOPs"),
        "attention's share": f"{work.share:.1%} (50% at about {work.break_even:,} tokens)",
        f"whole video, {budget.steps} steps": scaled(budget.total, "FLOPs"),
        "weights, bfloat16": scaled(budget.weight_bytes, "B", 1024),
        "q, k, v, output of one attention": scaled(budget.attention_bytes, "B", 1024),
        f"run density of {recipe.name} at density {budget.density:g}": f"{budget.run_density:.3f}",
        "speed-up at most (Amdahl, by work)": f"{budget.bound:.2f}×",
    }
    for name, value in lines.items():
        table.add_row(name, value)
    out.print(table)
    say("work is counted, not measured; a real kernel reaches a part of the bound")
