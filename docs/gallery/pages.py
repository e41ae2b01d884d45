"""The commands of the gallery: few steps and small pages, so that all of them fit into the repository."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROMPT = '"a large red circle moves left over a striped background"'
PAGES = {  # name: the page that the command writes, the command
    "report": (
        "demo/report.html",
        "videosieve compare --model shapes-s --methods svg,spatial_only,temporal_only --output demo",
    ),
    "sweep": (
        "sweep/sweep.html",
        "videosieve sweep --model shapes-s --method svg --densities 0.1,0.2,0.3,0.5,0.7 --output sweep",
    ),
    "tune": (
        "tuned/tune.html",
        "videosieve tune --model shapes-s --psnr 25 --steps 8 --minutes 6 --methods svg,sieve,caching --output tuned",
    ),
    "inspector": (
        "inspection/inspection.html",
        f"videosieve inspect {PROMPT} --model shapes-s --method svg --layers 1,6 --heads 0,3 --look-at 10 "
        "--output inspection",
    ),
    "saliency": (
        "saliency/saliency.html",
        f'videosieve saliency {PROMPT} --model shapes-s --concept "red circle" --concept background --output saliency',
    ),
    "ablation": (
        "ablation/ablation.html",
        "videosieve saliency --ablate --model shapes-s --clips 6 --output ablation",
    ),
    "scores": (
        "scores/scores.html",
        "videosieve saliency-score clips --model shapes-s --output scores",
    ),
    "atlas": (
        "atlas/atlas.html",
        "videosieve profile --model shapes-s --every 4 --output atlas",
    ),
    "prefill": (
        "prefill/prefill.html",
        "videosieve prefill --model smollm2 --prompt-file architecture.md --tokens 1024 --methods "
        "dense,xattention-llm,minference-llm --output prefill",
    ),
}  # fmt: skip


def prepare(name: str, folder: Path) -> None:
    """Put what a command reads into its folder."""
    if name == "prefill":
        shutil.copyfile(ROOT / "docs/architecture.md", folder / "architecture.md")
    if name == "scores":
        from videosieve.scenes import rendered_scenes, write_scene

        for scene in rendered_scenes(6, 64):
            write_scene(folder / "clips", scene)
