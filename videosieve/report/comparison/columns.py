"""The columns of the table, each with its unit and its meaning in one sentence."""

import re
from dataclasses import dataclass

PERCENT, MIB = 100.0, 1 / 2**20
CAPTION = (
    "Share of the videos that show everything their caption asks for, as the bundled model's judge sees it"
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        key: Of the number, as `Figures.number` knows it.
        name: In the head of the table.
        unit: Below the name.
        meaning: One sentence without its full stop.
        digits: Decimals.
        factor: The number is multiplied by it.
        compares: It compares with the baseline, which therefore has none.
    """

    key: str
    name: str
    unit: str
    meaning: str
    digits: int = 2
    factor: float = 1.0
    compares: bool = False

    def words(self, value: float) -> str:
        """The number as it is printed."""
        return f"{value * self.factor:.{self.digits}f}"


TIMES = (
    Column("seconds", "time", "s", "Wall time of the whole pipeline call"),
    Column("speedup", "speed-up", "×", "Time of the dense video of the same prompt and seed ÷ time"),
    Column(
        "bound", "bound", "×",
        "Amdahl's bound: the speed-up if attention took time in proportion to its run density "
        "and choosing the blocks took none",
        compares=True,
    ),
    Column(
        "reached", "reached", "% of bound",
        "Speed-up ÷ bound; more than 100 % where the sparse kernel beats the dense one at equal work, "
        "where a recipe saves more than attention, or where the machine was not equally quiet for both",
        0, PERCENT, compares=True,
    ),
    Column("attention_seconds", "attention", "s", "Time inside attention calls, choosing the blocks included"),
)  # fmt: skip
DENSITIES = (
    Column(
        "run_density", "run density", "fraction", "Computed ÷ all query–key pairs, the dense warm-up included", 3
    ),
    Column("sparse_density", "sparse density", "fraction", "The same over the sparse calls only", 3),
    Column(
        "recall", "recall", "fraction",
        "True softmax mass inside the computed blocks, mean over sparse calls and heads", 3,
    ),
)  # fmt: skip
FIDELITY = (
    Column(
        "psnr", "PSNR", "dB",
        "Peak signal-to-noise ratio against the dense video, mean over its frames; 100 dB = identical", 1,
    ),
    Column("psnr_worst", "worst frame", "dB", "PSNR of the frame that differs most", 1),
    Column("ssim", "SSIM", "at most 1", "Structural similarity to the dense video; 1 = identical", 4),
    Column("accuracy", "caption", "share right", CAPTION),
)  # fmt: skip
SCORES = {  # name, unit, meaning
    "latent_relative_l2": (
        "latent L2", "÷ dense", "‖latents − dense latents‖ ÷ ‖dense latents‖ before decoding; 0 = identical"
    ),
    "ms_ssim": ("MS-SSIM", "at most 1", "Structural similarity over several scales; 1 = identical"),
    "flicker": (
        "flicker", "at most 1",
        "VBench's temporal flickering of the video itself: 1 − mean absolute change from frame to frame",
    ),
    "st_lpips": (
        "ST-LPIPS", "≥ 0",
        "Learned perceptual distance to the dense video that forgives small shifts; 0 = identical",
    ),
    "lpips": ("LPIPS", "≥ 0", "Learned perceptual distance to the dense video; 0 = identical"),
    "vmaf": (
        "VMAF", "0 to 100", "Netflix' fusion of quality measures against the dense video; 100 = no visible loss"
    ),
    "flip": ("FLIP", "0 to 1", "Difference that a viewer sees when flipping between the frames; 0 = identical"),
}  # fmt: skip
MEMORY = Column(
    "peak_bytes", "memory", "MiB peak",
    "Peak memory of the call: on a GPU all that was allocated, on a CPU what the call added to the process", 0, MIB,
)  # fmt: skip


def columns_for(scores: list[str]) -> list[Column]:
    """All columns, further metrics before the memory.

    Args:
        scores: Names of further metrics.

    Returns:
        The columns in reading order.
    """
    further = [Column(f"scores.{name}", *_described(name), digits=3) for name in scores]
    return [*TIMES, *DENSITIES, *FIDELITY, *further, MEMORY]


def display_name(name: str) -> str:
    """A metric as people write it."""
    known = {column.key: column.name for column in (*TIMES, *DENSITIES, *FIDELITY, MEMORY)}
    return known.get(name, _described(name)[0])


def _described(name: str) -> tuple[str, str, str]:
    if scales := re.fullmatch(r"ms_ssim_(\d)_scales", name):
        label, unit, meaning = SCORES["ms_ssim"]
        return (
            f"{label}, {scales[1]} scales",
            unit,
            f"{meaning}; the frames are too small for all five scales",
        )
    plain = name.replace("_", " ")
    return SCORES.get(name, (plain, "", f"Further metric: {plain}"))
