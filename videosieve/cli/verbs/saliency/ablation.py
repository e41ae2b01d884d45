"""`videosieve saliency --ablate`: a score for every layer and noise level."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from videosieve.cli.console import command_line, say
from videosieve.cli.progress import GenerationBar

CLIPS = 20


def require_apart(ablate: bool, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Refuse options of the ablation without it, and options of a single video with it.

    Args:
        ablate: Whether it is wanted.
        ours: Options of the ablation alone; None or empty where not given.
        theirs: Options that it has no use for, likewise.

    Raises:
        ModelError: One that does not belong there is given.
    """
    from videosieve.errors import ModelError

    if wrong := [name for name, value in (theirs if ablate else ours).items() if value not in (None, [])]:
        what = "the ablation looks at scenes with masks and takes" if ablate else "without --ablate there is"
        raise ModelError(f"{what} no {' and no '.join(wrong)}; leave that out")


def ablate_layers(
    model: str,
    method: tuple[str, float, dict[str, str]],
    folder: Path | None,
    clips: int | None,
    figure: str | None,
    layers: str | None,
    look_at: str | None,
    steps: int | None,
    seed: int,
    device: str,
    dtype: str | None,
    output: Path,
) -> None:
    """Ablate, write ablation.json and ablation.html, and say what came of the paper's findings.

    Args:
        model: As `load_pipeline` takes it.
        method: Name, temperature and switches of the method.
        folder: With scenes; None renders clips.
        clips: How many to render; None takes 20.
        figure: What is scored; None takes mIoU.
        layers: Indices in words.
        look_at: Likewise.
        steps: Denoising steps.
        seed: Of the noise.
        device: As `load_pipeline` takes it.
        dtype: Likewise.
        output: Folder for both files.
    """
    from videosieve.generation.load import check_words, load_pipeline
    from videosieve.generation.media import folder_for_results
    from videosieve.generation.saliency import parse_indices, parse_method
    from videosieve.planning.machine import describe_versions
    from videosieve.report.ablation import write_ablation_page
    from videosieve.scenes import ablate, read_scenes, rendered_scenes
    from videosieve.scenes.layout import read_index
    from videosieve.scenes.score import FIGURES

    name, temperature, switches = method
    chosen = parse_method(name, temperature, **switches)
    places = parse_indices("layers", layers), parse_indices("look-at", look_at)
    figure = "miou" if figure is None else figure
    _require(model, folder, clips, figure)
    lines = [] if folder is None else read_index(folder)
    check_words(
        model, *(line.prompt for line in lines if line.prompt), *(x for one in lines for x in one.concepts)
    )
    count = len(lines) or clips or CLIPS
    with folder_for_results(output), GenerationBar() as bar:
        bar.begin("ablate", f"loading {model}")
        pipe: Any = load_pipeline(model, device, dtype, images=True)
        scenes = rendered_scenes(count, pipe.vae.sample_size) if folder is None else read_scenes(folder)
        found = ablate(
            pipe, _told(scenes, bar, count), chosen, layers=places[0], steps=places[1], inference_steps=steps or 10,
            figure=figure, seed=seed,
        )  # fmt: skip
    of = "rendered clips that training never saw" if folder is None else str(folder)
    about = {
        "model": model,
        "method": name,
        "scenes": of,
        "seed": seed,
        "command": command_line(),
        "versions": describe_versions(),
    }
    found.save(output / "ablation.json", **about, switches=switches)
    write_ablation_page(found.as_json(), FIGURES[figure], output / "ablation.html", about)
    for finding in found.findings:
        low, high = finding.interval
        say(f"{finding.verdict}: {finding.claim}: {finding.difference:+.3f} ({low:+.3f} to {high:+.3f})")
    say(f"open {output / 'ablation.html'}")


def _require(model: str, folder: Path | None, clips: int | None, figure: str) -> None:
    from videosieve.errors import ModelError
    from videosieve.generation.load import is_shapes
    from videosieve.scenes.score import FIGURES

    if figure not in FIGURES:
        raise ModelError(f"figure must be one of {', '.join(FIGURES)}, got {figure!r}")
    if folder is None and not is_shapes(model):
        raise ModelError(
            f"only the world of the bundled models can be rendered with masks, and {model!r} is none of them; "
            f"give --scenes FOLDER"
        )
    if folder is not None and clips is not None:
        raise ModelError("give --scenes or --clips, not both")
    if clips is not None and clips < 1:
        raise ModelError(f"clips must be at least 1, got {clips}")


def _told(scenes: Iterable[Any], bar: GenerationBar, count: int) -> Iterator[Any]:
    for number, scene in enumerate(scenes, start=1):
        bar.begin("ablate", f"{number} of {count}: {scene.name}")
        yield scene
