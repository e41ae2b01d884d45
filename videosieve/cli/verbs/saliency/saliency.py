"""`videosieve saliency`: where in a generated or given video each concept is."""

from pathlib import Path
from typing import Annotated

import typer

from videosieve.cli import options
from videosieve.cli.console import command_line, say
from videosieve.cli.progress import GenerationBar
from videosieve.cli.verbs.saliency.ablation import ablate_layers, require_apart


def saliency(
    prompt: options.PromptArgument = None,
    prompt_option: options.PromptOption = None,
    concept: Annotated[
        list[str] | None,
        options.optional("A word or phrase to look for; give several, a background too."),
    ] = None,
    video: Annotated[
        Path | None,
        options.optional(
            "Look at this video instead of generating one: a video file, .gif, .webp, or a folder of pictures; "
            "--frames takes the first ones, --height and --width scale it."
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        options.optional("Look at this picture, with an image model; --height and --width scale it."),
    ] = None,
    model: options.Model = "shapes-s",
    method: Annotated[str, typer.Option(help="concept, or cross_attention.")] = "concept",
    temperature: Annotated[float, typer.Option(help="Of the softmax over concepts, no unit, > 0.")] = 1.0,
    space: Annotated[str, typer.Option(help="What concept compares: output, or value.")] = "output",
    sight: Annotated[
        str,
        typer.Option(
            help="What concepts attend to: both, video, concepts or none; by layer: both:0,none:2-3."
        ),
    ] = "both",
    vectors: Annotated[str, typer.Option(help="Of concepts: plain, or linear (normalised).")] = "plain",
    average: Annotated[
        str, typer.Option(help="Softmax and mean: probabilities, mean_first or raw.")
    ] = "probabilities",
    pool: Annotated[str, typer.Option(help="Tokens of a concept: auto, mean, first or last.")] = "auto",
    keep: Annotated[
        str | None,
        options.optional(
            "Maps to step through on the page: mean (none), layers, steps or sites (both); memory grows with them. "
            "Default: sites for the bundled models, layers for images, else mean."
        ),
    ] = None,
    layers: Annotated[
        str | None,
        options.indices(" of self-attentions", "the model's, or all"),
    ] = None,
    look_at: Annotated[
        str | None,
        options.indices(" of denoising steps", "middle noise levels"),
    ] = None,
    ablate: Annotated[
        bool,
        typer.Option(
            "--ablate",
            help="Score every layer at every noise level instead, on scenes with masks; takes no prompt.",
        ),
    ] = False,
    scenes: Annotated[
        Path | None,
        options.optional(
            "For --ablate: a folder as saliency-score takes it; default: clips that the bundled model's world renders."
        ),
    ] = None,
    clips: Annotated[int | None, options.optional("For --ablate: rendered clips, >= 1; default: 20.")] = None,
    figure: Annotated[
        str | None,
        options.optional(
            "For --ablate: pixel_accuracy, miou, object_iou, map, authors_miou, …; default: miou."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        options.optional(options.OWN_ATTENTION),
    ] = None,
    steps: options.Steps = None,
    seed: options.Seed = 0,
    height: options.Height = None,
    width: options.Width = None,
    frames: options.Frames = None,
    guidance: options.Guidance = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    output: Annotated[Path, options.folder("Folder for the maps, videos and page; made if missing.")] = Path(
        "saliency"
    ),
    fps: options.Fps = None,
) -> None:
    """Generate a video or an image, or take one, and show where in it each concept is; it is the same as without.

    videosieve saliency "a red circle moves left" --concept "red circle" --concept background -o saliency

    videosieve saliency "a red circle" --video circle.mp4 --concept "red circle" --concept background

    videosieve saliency --ablate --clips 20 -o ablation
    """
    switches = {"space": space, "sight": sight, "vectors": vectors, "average": average, "pool": pool}
    ours = {"--scenes": scenes, "--clips": clips, "--figure": figure}
    theirs = {
        "a prompt": prompt or prompt_option, "--concept": concept, "--video": video, "--picture": picture,
        "--keep": keep, "--recipe": recipe, "--height": height, "--width": width, "--frames": frames,
        "--guidance": guidance, "--fps": fps,
    }  # fmt: skip
    require_apart(ablate, ours, theirs)
    if ablate:
        ablate_layers(
            model, (method, temperature, switches), scenes, clips, figure, layers, look_at, steps, seed, device, dtype,
            output,
        )  # fmt: skip
        return
    from videosieve.concepts import normalise_concepts
    from videosieve.generation.footage import fit_footage
    from videosieve.generation.load import check_words, load_pipeline
    from videosieve.generation.media import folder_for_results
    from videosieve.generation.recipe_settings import make_recipe
    from videosieve.generation.request import Request, choose_prompt
    from videosieve.generation.saliency import (
        default_keep,
        find_saliency,
        parse_indices,
        parse_method,
        read_given,
        write_saliency,
    )

    request = Request(
        choose_prompt(prompt, prompt_option),
        steps=steps, seed=seed, height=height, width=width, frames=frames, guidance=guidance,
    )  # fmt: skip
    concepts = list(normalise_concepts(concept or []))
    switches["keep"] = keep or default_keep(model)
    chosen = parse_method(method, temperature, **switches)
    places = parse_indices("layers", layers), parse_indices("look-at", look_at)
    plan = None if recipe is None else make_recipe(recipe, None, (), model)
    rate = options.frame_rate(fps, model)
    given = read_given(model, video=video, picture=picture, request=request, fps=fps)
    check_words(model, request.prompt, *concepts)
    with folder_for_results(output), GenerationBar() as bar:
        bar.begin("saliency", f"loading {model}")
        pipe = load_pipeline(model, device, dtype, images=True)
        if video is not None and given is not None:
            given = fit_footage(pipe, given, height, width, whole=frames is not None)
        looked_at = video or picture
        bar.begin("saliency", "generating" if looked_at is None else f"looking at {looked_at}")
        found = find_saliency(
            pipe, request, concepts, chosen, layers=places[0], look_at=places[1], recipe=plan, given=given
        )  # fmt: skip
        bar.begin("saliency", f"writing {output}")
        about = {"model": model, "seed": seed, "command": command_line()}
        page = write_saliency(found, output, request.prompt, rate, about)
    for name, mask in zip(found.concepts, found.masks(), strict=True):
        say(f"{name}: wins {mask.float().mean():.1%} of the {'image' if found.of_image else 'video'}")
    say(f"open {page}")
