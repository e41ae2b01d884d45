"""`videosieve saliency-score`: how well concepts are found in pictures or clips that have masks."""

from pathlib import Path
from typing import Annotated

import typer

from videosieve.cli import options
from videosieve.cli.console import command_line, say
from videosieve.cli.progress import GenerationBar


def saliency_score(
    folder: Annotated[
        Path, typer.Argument(help="Folder with scenes.jsonl, pictures or clips, and PNG masks.")
    ],
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
    layers: Annotated[
        str | None,
        options.indices(" of self-attentions", "the model's, or all"),
    ] = None,
    look_at: Annotated[
        str | None,
        options.indices(" of denoising steps, whose noise is added", "the one nearest half of the noise"),
    ] = None,
    steps: options.Steps = None,
    seed: options.Seed = 0,
    height: options.Height = None,
    width: options.Width = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    output: Annotated[Path, options.folder("Folder for scores.json and the page; made if missing.")] = Path(
        "saliency-score"
    ),
) -> None:
    """Look for the concepts of pictures or clips that have masks, and say how well they are found.

    videosieve saliency-score pictures --model my-flux --look-at 12
    """
    from videosieve.generation.load import check_words, load_pipeline
    from videosieve.generation.media import folder_for_results
    from videosieve.generation.saliency import parse_indices, parse_method
    from videosieve.planning.machine import describe_versions
    from videosieve.report.page import Colophon
    from videosieve.report.scores import write_scores_page
    from videosieve.scenes import Report, score_scenes
    from videosieve.scenes.layout import read_index, read_scenes
    from videosieve.scenes.score import FIGURES

    switches = {"space": space, "sight": sight, "vectors": vectors, "average": average, "pool": pool}
    chosen = parse_method(method, temperature, **switches)
    places = parse_indices("layers", layers), parse_indices("look-at", look_at)
    lines = read_index(folder)
    check_words(
        model, *(line.prompt for line in lines if line.prompt), *(x for one in lines for x in one.concepts)
    )
    call = {} if steps is None else {"num_inference_steps": steps}
    reports = []
    with folder_for_results(output), GenerationBar() as bar:
        bar.begin("saliency-score", f"loading {model}")
        pipe = load_pipeline(model, device, dtype, images=True)
        for number, scene in enumerate(read_scenes(folder), start=1):
            bar.begin("saliency-score", f"{number} of {len(lines)}: {scene.name}")
            one = score_scenes(
                pipe, [scene], chosen, layers=places[0], steps=places[1], seed=seed, height=height, width=width,
                **call,
            )  # fmt: skip
            reports.append(one)
    names, scores = (tuple(x for one in reports for x in getattr(one, name)) for name in ("names", "scores"))
    report = Report(names, scores)
    about = {"model": model, "method": method, "switches": switches, "seed": seed}
    path = output / "scores.json"
    report.save(path, **about, command=command_line(), versions=describe_versions())
    page = path.with_suffix(".html")
    facts = [
        ("model", model, f"seed {seed}"), ("method", method, f"compares {space} vectors"),
        ("scenes", str(len(names)), f"of {folder}"),
    ]  # fmt: skip
    colophon = Colophon(model, str(seed), command_line(), describe_versions())
    write_scores_page(report.as_json(), FIGURES, facts, colophon, page)
    say(report.table())
    say(f"wrote {path}; open {page}")
