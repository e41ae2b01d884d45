"""Pictures of a training run: its loss, and what the model makes of captions."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from torch import Tensor

from videosieve.colours import light
from videosieve.files import whole_file
from videosieve.visible import plot_text, visible

_COLOURS = {frames: light(f"method-{index}") for index, frames in enumerate((1, 2, 4, 8, 16))}


def plot_losses(rows: list[dict[str, float]], subject: str, path: Path) -> None:
    """Loss against samples, one line for every number of frames, each point the mean of a hundredth of all samples.

    Args:
        rows: Rows of the log with samples, loss and frames.
        subject: What is trained, for the title.
        path: File to write; the ending picks the format.

    Raises:
        OutputError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.8, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = max(row["samples"] for row in rows) / 100 if rows else 1.0
    for frames in sorted({int(row["frames"]) for row in rows}):
        samples, losses = _smoothed([row for row in rows if row["frames"] == frames], width)
        axes.plot(samples, losses, color=_COLOURS.get(frames), linewidth=1.6, label=f"{frames} frames")
    axes.set_title(f"Training loss of {plot_text(subject)}", loc="left")
    axes.set_xlabel("samples")
    axes.set_ylabel("weighted squared velocity error")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if rows:
        figure.legend(frameon=False, loc="outside right upper")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=160)


def _smoothed(rows: list[dict[str, float]], width: float) -> tuple[list[float], list[float]]:
    groups = [list(group) for _, group in groupby(rows, key=lambda row: (row["samples"] - 1) // width)]
    means = [sum(row["loss"] for row in group) / len(group) for group in groups]
    return [group[-1]["samples"] for group in groups], means


def write_sheet(videos: Tensor, captions: Sequence[str], path: Path, frames: int = 6, zoom: int = 3) -> None:
    """One row a video: some of its frames, the caption below.

    Args:
        videos: RGB in [0, 1] [videos, frames, 3, height, width].
        captions: One a video.
        path: PNG file to write.
        frames: Frames to show of each video, evenly spaced.
        zoom: Enlargement, pixels a pixel.

    Raises:
        OutputError: The file cannot be written.
    """
    from PIL import Image, ImageDraw

    _, count, _, height, width = videos.shape
    shown = [round(index * (count - 1) / max(frames - 1, 1)) for index in range(frames)]
    gap, line = 4, 18
    cell_width, cell_height = width * zoom + gap, height * zoom + line + gap
    sheet = Image.new("RGB", (cell_width * frames + gap, cell_height * len(videos) + gap), light("paper"))
    pencil = ImageDraw.Draw(sheet)
    pixels = (videos[:, shown].clamp(0, 1) * 255).round().byte().permute(0, 1, 3, 4, 2).numpy()
    for row, caption in enumerate(captions):
        top = gap + row * cell_height
        for column in range(frames):
            picture = Image.fromarray(pixels[row, column])
            picture = picture.resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            sheet.paste(picture, (gap + column * cell_width, top))
        pencil.text((gap, top + height * zoom + 2), visible(caption, keep=""), fill=light("ink"))
    with whole_file(path) as temporary:
        sheet.save(temporary)
