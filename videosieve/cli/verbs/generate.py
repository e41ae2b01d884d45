"""`videosieve generate`: one prompt, one video."""

from pathlib import Path
from typing import Annotated

import typer

from videosieve.cli import options
from videosieve.cli.console import say
from videosieve.cli.long_runs import announce, tell_length
from videosieve.cli.progress import GenerationBar
from videosieve.errors import ModelError


def generate(
    prompt: options.PromptArgument = None,
    prompt_option: options.PromptOption = None,
    model: options.Model = "shapes-s",
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "--recipe",
            help="A method, a bundled recipe, a .toml file, auto for what the model's family begins with, or dense.",
        ),
    ] = "svg",
    density: options.Density = None,
    settings: options.Settings = None,
    negative_prompt: options.NegativePrompt = "",
    image: options.Image = None,
    steps: options.Steps = None,
    seed: options.Seed = 0,
    height: options.Height = None,
    width: options.Width = None,
    frames: options.Frames = None,
    guidance: options.Guidance = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file ending in .mp4, .gif or .webp.")
    ] = Path("video.mp4"),
    trace: Annotated[
        Path | None,
        options.optional("Write one JSON line per attention call to this .jsonl file; default: none."),
    ] = None,
    fps: options.Fps = None,
    ulysses: Annotated[
        int | None,
        options.optional(
            "Spread the attention heads over this many processes, started by torchrun; default: one process."
        ),
    ] = None,
    deal: Annotated[
        str | None,
        options.optional(
            "With --ulysses: give every process heads with nearly equal work, by the densities in the trace of an "
            "earlier run (a .jsonl file), or 'density' where the method's own table tells them; default: in order."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Generate one video with sparse attention, and say what was computed.

    videosieve generate "a small red circle moves left" --method svg --density 0.3 --output circle.mp4

    Several devices: torchrun --nproc-per-node 2 -m videosieve generate "a small red circle moves left" --ulysses 2
    """
    from videosieve.generation import generate as generation
    from videosieve.generation import media
    from videosieve.generation.load import check_words, load_pipeline
    from videosieve.generation.ranks import join_ranks
    from videosieve.generation.recipe_settings import make_recipe
    from videosieve.generation.request import Request, choose_prompt

    request = Request(
        choose_prompt(prompt, prompt_option),
        negative_prompt, image, steps, seed, height, width, frames, guidance,
    )  # fmt: skip
    recipe = make_recipe(method, density, settings or (), model)
    media.check_output(output, overwrite=overwrite)
    if trace is not None:
        media.check_output(trace, (".jsonl",), overwrite=overwrite)
    rate = options.frame_rate(fps, model)
    if deal is not None and not ulysses:
        raise ModelError(
            "--deal says which process gets which heads, and there is one; give --ulysses N as well"
        )
    check_words(model, request.prompt, request.negative_prompt)
    with join_ranks(ulysses, device) as ranks, GenerationBar(shown=ranks.speaks) as bar:
        bar.begin(recipe.name, f"loading {model}")
        pipe = load_pipeline(model, ranks.device, dtype)
        if ranks.count > 1:
            from videosieve.integrations.diffusers import enable_ulysses

            enable_ulysses(pipe)
        if ranks.speaks:
            announce(pipe, model, request, recipe)
        bar.begin(recipe.name, "reading the prompt")
        listener = tell_length(bar.advance) if ranks.speaks else bar.advance
        clip = generation.generate(pipe, request, recipe, progress=listener, deal=deal)
        summary = clip.summary() if ranks.count == 1 else clip.summary().over_ranks(clip.trace.records)
        if not ranks.speaks:
            return
        bar.begin(recipe.name, f"writing {output}")
        media.write_video(clip.frames, output, rate)
        if trace is not None:
            clip.trace.save(trace)
    count, _, rows, columns = clip.frames.shape
    say(f"{output}: {count} frames of {columns} × {rows} pixels, {clip.steps} steps in {clip.seconds:.1f} s")
    say(str(summary))
