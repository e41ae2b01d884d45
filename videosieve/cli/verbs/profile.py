"""`videosieve profile`: what the heads of a model attend to, and what a density keeps of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from videosieve.cli import options
from videosieve.cli.console import command_line, out, plain_table, say
from videosieve.cli.progress import GenerationBar

if TYPE_CHECKING:
    from videosieve.atlas.head_atlas import HeadAtlas


_MASKS = {
    "static": "best fixed band per head",
    "svg": "svg, chosen at every call",
    "oracle": "best blocks (oracle)",
}


def profile(
    model: options.Model = "shapes-s",
    prompt: options.Prompts = None,
    seed: options.Seeds = None,
    steps: options.Steps = None,
    height: options.Height = None,
    width: options.Width = None,
    frames: options.Frames = None,
    every: Annotated[int, typer.Option(help="Look at every so many denoising steps, >= 1.")] = 2,
    random: Annotated[
        bool,
        typer.Option(
            "--random", help="Also look at the same bundled model with random weights, for comparison."
        ),
    ] = False,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    output: Annotated[Path, options.folder("Folder for atlas.json, .svg and .html; made if missing.")] = Path(
        "atlas"
    ),
) -> None:
    """Generate densely and look at every head: spatial, temporal or neither, and how much of its mass a density keeps.

    videosieve profile --model shapes-s --seed 0 --seed 1 --output atlas
    """
    from videosieve.atlas.head_atlas import Every, survey, untrained, write_atlases
    from videosieve.comparison.plan import cross_requests
    from videosieve.errors import ModelError
    from videosieve.fields import checked
    from videosieve.generation.load import check_words, load_pipeline
    from videosieve.generation.media import make_folder
    from videosieve.generation.request import Request
    from videosieve.planning.machine import describe_versions
    from videosieve.report.atlas import write_atlas_page
    from videosieve.report.page import Colophon, number_words
    from videosieve.report.pictures.atlas import plot_atlas

    checked("every", every, Every, ModelError)
    base = Request("", steps=steps, height=height, width=width, frames=frames)
    requests = list(cross_requests(base, prompt or (), seed or (0,), model))
    for request in requests:
        check_words(model, request.prompt)
    make_folder(output)
    with GenerationBar() as bar:
        bar.begin("profile", f"loading {model}")
        pipes = {model: load_pipeline(model, device, dtype)}
        if random:
            pipes[f"{model} (random weights)"] = untrained(model)
        atlases = []
        for name, pipe in pipes.items():
            bar.begin(name, "starting")
            atlases.append(survey(pipe, requests, name, every, lambda _, position: bar.advance(position)))
    write_atlases(atlases, output / "atlas.json")
    plain = [atlas.as_json() for atlas in atlases]
    plot_atlas(plain, output / "atlas.svg")
    colophon = Colophon(model, number_words(sorted(seed or (0,))), command_line(), describe_versions())
    write_atlas_page(plain, colophon, output / "atlas.html")
    _print(atlases)
    say(f"wrote {output / 'atlas.json'} and {output / 'atlas.svg'}; open {output / 'atlas.html'}")


def _print(atlases: "list[HeadAtlas]") -> None:
    densities = [f"{density:.2f}" for density in atlases[0].density.tolist()]
    for atlas in atlases:
        kinds = ", ".join(f"{atlas.share(kind):.0%} {kind}" for kind in ("spatial", "temporal", "other"))
        say(f"{atlas.model}: heads {kinds}")
        table = plain_table("recall at density", *densities, right=tuple(densities))
        for mask, recall in atlas.recall.items():
            table.add_row(_MASKS[mask], *(f"{share:.3f}" for share in recall.tolist()))
        out.print(table)
