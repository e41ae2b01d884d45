"""The moving picture of the README: dense attention beside a sparse method, the same noise, figures burnt in.

    videosieve compare --methods svg --repeats 3 --output banner
    python -m docs.banner banner docs/images/dense_and_sparse.gif

It draws what the folder of a comparison of one method holds, and no figure that is not in its results.json. That of the
picture in the README is benchmarks/results/banner.json.
"""

import sys
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from videosieve.report import ClipResult, Results
from videosieve.report.comparison.cautions import measures_machine
from videosieve.report.comparison.statistics import summarise

SIDE, GAP, HEAD, FOOT = 288, 16, 40, 64
PAPER, INK, MUTED, MARK = (255, 255, 255), (22, 24, 27), (92, 99, 107), (8, 117, 109)


def frames_of(path: Path) -> list[Image.Image]:
    """The frames of a film, scaled to the side of a picture without smoothing where they were enlarged before."""
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    pictures = [Image.fromarray(np.frombuffer(data, np.uint8).reshape(height, width, 3)) for data in reader]
    return [picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS) for picture in pictures]


def draw(results: Results, folder: Path) -> list[Image.Image]:
    """The frames of the picture.

    Args:
        results: A comparison of dense attention and one method, one prompt and seed.
        folder: Where its films lie.
    """
    dense = next(clip for clip in results.clips if clip.kind == "baseline")
    sparse = next(clip for clip in results.clips if clip.kind == "method")
    row = next(row for row in summarise(results) if row.method == sparse.method)
    if measures_machine(results, row):
        raise SystemExit("this speed-up is more than attention could give; measure again on a quiet machine")
    films = [frames_of(folder / clip.files["video"]) for clip in (dense, sparse)]
    return [
        _panel(pair, [dense, sparse], index / len(films[0]))
        for index, pair in enumerate(zip(*films, strict=True))
    ]


def _panel(pair: tuple[Image.Image, ...], clips: list[ClipResult], share: float) -> Image.Image:
    width, height = 2 * SIDE + 3 * GAP, HEAD + SIDE + FOOT
    picture = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(picture)
    for place, (frame, clip) in enumerate(zip(pair, clips, strict=True)):
        left = GAP + place * (SIDE + GAP)
        picture.paste(frame, (left, HEAD))
        name = "dense attention" if place == 0 else f"videosieve, {clip.method}"
        pen.text((left, 12), name, INK if place == 0 else MARK, _font(17))
        pen.rectangle((left, HEAD + SIDE, left + round(SIDE * share), HEAD + SIDE + 3), MUTED)
        first, second = _words(clip, place == 0)
        pen.text((left, HEAD + SIDE + 10), first, INK, _font(17))
        pen.text((left, HEAD + SIDE + 34), second, MUTED, _font(13))
    return picture


def _words(clip: ClipResult, dense: bool) -> tuple[str, str]:
    if dense:
        return f"{clip.seconds:.1f} s", "density 1, every query-key pair"
    first = f"{clip.seconds:.1f} s, {clip.speedup:.2f}x as fast"
    return (
        first,
        f"density {clip.run_density:.2f}, recall {clip.recall or 0:.2f}, {clip.psnr or 0:.1f} dB PSNR",
    )


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def main() -> None:
    """Draw the picture of a folder."""
    folder, target = map(Path, sys.argv[1:3])
    pictures = [one.quantize(96, dither=Image.Dither.NONE) for one in draw(Results.load(folder), folder)]
    pictures[0].save(target, save_all=True, append_images=pictures[1:], duration=125, loop=0, optimize=True)
    print(f"{target}: {len(pictures)} frames, {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
