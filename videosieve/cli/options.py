"""Options that several verbs share; each help text states unit, range and default."""

from pathlib import Path
from typing import Annotated

import typer

from videosieve.fields import In

PromptArgument = Annotated[str | None, typer.Argument(help="What the video shows.", show_default=False)]
PromptOption = Annotated[
    str | None, typer.Option("--prompt", help="The same, as an option.", show_default=False)
]
Prompts = Annotated[
    list[str] | None,
    typer.Option(
        help="What the videos show; repeatable. Default: a fitting one for the bundled model.",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        help="shapes-s or shapes-m (bundled), a folder in diffusers' format, or a hub id owner/name.",
        show_default=True,
    ),
]
NegativePrompt = Annotated[
    str, typer.Option(help="What the video should not show; default: nothing.", show_default=False)
]
Image = Annotated[
    Path | None,
    typer.Option(
        help="First frame, PNG or JPEG, for image-to-video models; default: none.", show_default=False
    ),
]
Steps = Annotated[
    int | None, typer.Option(help="Denoising steps, >= 1; default: the model's own.", show_default=False)
]
Height = Annotated[
    int | None, typer.Option(help="Pixels, >= 1; default: the model's own.", show_default=False)
]
Width = Annotated[
    int | None, typer.Option(help="Pixels, >= 1; default: the model's own.", show_default=False)
]
Frames = Annotated[
    int | None, typer.Option(help="Video frames, >= 1; default: the model's own.", show_default=False)
]
Guidance = Annotated[
    float | None,
    typer.Option(help="Guidance scale, no unit, >= 0; default: the model's own.", show_default=False),
]
Seed = Annotated[int, typer.Option(help="Seed of the initial noise, >= 0.")]
Seeds = Annotated[
    list[int] | None,
    typer.Option(help="Seed of the initial noise, >= 0; repeatable. Default: 0.", show_default=False),
]
Method = Annotated[
    str,
    typer.Option(
        "--method",
        "--recipe",
        help="A method, a bundled recipe, a .toml file, or auto for what the model's family begins with.",
    ),
]
OWN_ATTENTION = "A method, a bundled recipe, or a .toml file; default: the pipeline's own attention."
ResultsFolder = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="Folder for results; made if missing. Earlier results in it are replaced; interrupted ones go on.",
    ),
]
Density = Annotated[
    float | None,
    typer.Option(
        help="Share of query-key pairs that sparse calls compute, in (0, 1]; default: the method's own (svg: 0.3).",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any parameter of the method, or dense_steps, dense_layers (fraction in [0.0, 1.0] or count), min_tokens "
        "(count), shared_selection (true or false), compensate (none, centroids or tangents), "
        "token_order (model, hilbert, 4x4x4, head …), prefer (none or bf16). Repeatable; default: none.",
        show_default=False,
    ),
]
Device = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:N, mps, or auto for the first accelerator there is.")
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="float32, bfloat16 or float16; default: float32 on cpu, bfloat16 elsewhere.", show_default=False
    ),
]
TableFile = Annotated[
    Path | None,
    typer.Option(
        "--table",
        help="Write the table to this file too: .csv, .md or .tex; default: none.",
        show_default=False,
    ),
]
THREADS = Annotated[
    int, In("[0, 4096]", "must be a whole number in [0, 4096]", "0 leaves the choice to torch")
]
Fps = Annotated[
    float | None,
    typer.Option(
        help="Frames per second of the written video, in (0, 240]; default: those that the model was made for "
        "(Wan 16, HunyuanVideo 24, shapes 8, …).",
        show_default=False,
    ),
]


def frame_rate(fps: float | None, model: str) -> float:
    """What `--fps` says, or the rate that the model was made for; an OutputError where it cannot be played."""
    from videosieve.frame_rate import check_fps
    from videosieve.generation.model_index import frame_rate_for

    rate = frame_rate_for(model) if fps is None else fps
    check_fps(rate)
    return rate


def indices(what: str, default: str) -> typer.models.OptionInfo:
    """An option for a list of indices; verbs differ in what they index, and in the default."""
    return optional(f"Indices like 0,2,3 or 4-7{what}; default: {default}.")


def folder(meaning: str) -> typer.models.OptionInfo:
    """The option for the folder that a verb writes to."""
    return typer.Option("--output", "-o", help=meaning)


def optional(meaning: str, *flags: str) -> typer.models.OptionInfo:
    """An option whose help says in words what happens without it."""
    return typer.Option(*flags, help=meaning, show_default=False)
