"""`videosieve inspect`: where attention heads look while a video is generated."""

from pathlib import Path
from typing import Annotated

from videosieve.cli import options
from videosieve.cli.console import command_line, say
from videosieve.cli.progress import GenerationBar


def inspect(
    prompt: options.PromptArgument = None,
    prompt_option: options.PromptOption = None,
    model: options.Model = "shapes-s",
    method: Annotated[
        str | None,
        options.optional(options.OWN_ATTENTION, "--method", "--recipe"),
    ] = None,
    density: options.Density = None,
    settings: options.Settings = None,
    layers: Annotated[
        str | None,
        options.indices(" of self-attentions", "first, middle, last"),
    ] = None,
    heads: Annotated[str | None, options.indices("", "four, evenly spread")] = None,
    look_at: Annotated[
        str | None,
        options.indices(" of denoising steps", "the middle one"),
    ] = None,
    steps: options.Steps = None,
    seed: options.Seed = 0,
    height: options.Height = None,
    width: options.Width = None,
    frames: options.Frames = None,
    guidance: options.Guidance = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    output: Annotated[Path, options.folder("Folder for the page and pictures; made if missing.")] = Path(
        "inspection"
    ),
) -> None:
    """Generate a video and show where attention heads look, with the executed mask and its recall.

    videosieve inspect "a red circle moves left" --method svg --layers 0,4 --heads 0,1,2 --output inspection
    """
    from videosieve.errors import RecipeError
    from videosieve.generation.inspection import find_attention, write_inspection
    from videosieve.generation.load import check_words, load_pipeline
    from videosieve.generation.media import folder_for_results
    from videosieve.generation.recipe_settings import make_recipe
    from videosieve.generation.request import Request, choose_prompt
    from videosieve.generation.saliency import parse_indices

    request = Request(
        choose_prompt(prompt, prompt_option),
        steps=steps, seed=seed, height=height, width=width, frames=frames, guidance=guidance,
    )  # fmt: skip
    if method is None and (density is not None or settings):
        raise RecipeError("--density and --set are parameters of a method; give one with --method")
    plan = None if method is None else make_recipe(method, density, settings or (), model)
    places = [parse_indices(*pair) for pair in (("layers", layers), ("heads", heads), ("look-at", look_at))]
    check_words(model, request.prompt)
    with folder_for_results(output), GenerationBar() as bar:
        bar.begin("inspect", f"loading {model}")
        pipe = load_pipeline(model, device, dtype)
        bar.begin("inspect", "generating, and looking")
        found = find_attention(
            pipe, request, layers=places[0], heads=places[1], look_at=places[2], recipe=plan
        )
        bar.begin("inspect", f"writing {output}")
        about = {"model": model, "seed": seed, "command": command_line()}
        page = write_inspection(found, output, about)
    rows = "exact" if found.plan.exact else f"from {len(found.plan.rows)} sampled query rows"
    for spot, reading in found.readings.items():
        shares = "  ".join(f"{name} {value:.3f}" for name, value in reading.view.measures.items())
        kind = f"density {reading.density:.3f}  " if reading.order else ""
        say(f"layer {spot.layer} head {spot.head} step {spot.step}: {kind}{shares}")
    say(f"{rows}; open {page}")
