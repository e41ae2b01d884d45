"""A page of every kind, small and made up, with its own writer."""

from pathlib import Path
from typing import Any

import torch

from videosieve.concepts import SaliencyMaps
from videosieve.generation.media import write_video
from videosieve.inspection import Inspection, Plan, Reading, Spot, view_head
from videosieve.layout import VideoLayout
from videosieve.report.ablation import write_ablation_page
from videosieve.report.atlas import write_atlas_page
from videosieve.report.inspection import write_inspection_page
from videosieve.report.page import Colophon, machine_fact
from videosieve.report.pictures.tuning import Mark
from videosieve.report.prefill import write_prefill_page
from videosieve.report.saliency import About, write_saliency_page
from videosieve.report.scores import write_scores_page
from videosieve.report.sweep import write_sweep_page
from videosieve.report.tuning import Tuned, write_tuning_page
from videosieve.testing.factories import make_call

COLOPHON = Colophon(
    "a-model", "3", "videosieve verb --option '<value>'", {"videosieve": "9.8.7", "torch": "2"}
)
FACTS = [
    ("model", "a-model", "a Pipeline"),
    machine_fact({"device": "cpu", "processor": "P", "threads": "1"}),
]
NAMES = ("report", "saliency", "inspection", "ablation", "prefill", "sweep", "tune", "atlas", "scores")


def draw_saliency(folder: Path) -> None:
    maps = torch.rand(4, 4, 4, 4, generator=torch.Generator().manual_seed(0)).softmax(0)
    covering = tuple(frame // 2 for frame in range(8))
    concepts = ("red circle", "blue square", "grass", "background")  # the fourth is yellow
    found = SaliencyMaps(
        concepts, maps, "concept", (0, 1), (2,), {}, torch.full((8, 3, 32, 32), 0.5), covering
    )
    write_video(found.overlay(strength=0.0), folder / "video.mp4", 8.0)
    about = About("shapes", folder / "video.mp4", 8.0, tuple(FACTS), COLOPHON)
    write_saliency_page(found, about, folder / "saliency.html")


def draw_inspection(folder: Path) -> None:
    layout = VideoLayout.of(12, 6, 5, text_last=7)
    call, plan = make_call(layout, heads=2), Plan.of(layout, cells=16, patches=60)
    readings = {Spot(1, head, 3): Reading(view_head(call, 0, head, plan, None), 1.0) for head in range(2)}
    found = Inspection(
        "shapes", "WanPipeline", "WanTransformer3DModel", "dense", plan, readings, torch.rand(6, 1, 2, 2), 64, (3,), 8,
        (), torch.rand(12, 3, 24, 20), tuple(range(12)),
    )  # fmt: skip
    write_inspection_page(found, folder / "inspection.html", COLOPHON)


def draw_ablation(folder: Path) -> None:
    steps = list(range(10))
    row = [0.3 + 0.02 * step for step in steps]
    finding = {"verdict": "holds", "claim": "late is better", "difference": 0.1, "interval": [0.05, 0.2]}
    ablation = {
        "scenes": 20, "all": 0.5, "steps": steps, "levels": [1 - step / 10 for step in steps], "layers": [0, 1],
        "table": [row, row[::-1]], "by_layer": [0.4, 0.5], "by_step": row, "findings": [finding],
    }  # fmt: skip
    about = {"model": COLOPHON.model, "seed": 3, "command": COLOPHON.command, "versions": COLOPHON.versions}
    write_ablation_page(ablation, "mIoU", folder / "ablation.html", about)


def draw_prefill(folder: Path) -> None:
    row = {
        "seconds": 2.0, "speedup": 1.0, "attention_share": 40.0, "density": 0.5, "recall": 0.9, "lowest_recall": 0.8,
        "nll": 3.0, "nll_difference": 0.01, "agreement_percent": 50.0, "continuation": "and so on",
    }  # fmt: skip
    rows = [{**row, "method": name} for name in ("dense", "xattention-llm", "minference-llm")]
    scenes = [{"prompt": "Once", "tokens": 8192, "rows": rows}]
    write_prefill_page(COLOPHON, FACTS, scenes, folder / "prefill.html")


def draw_sweep(folder: Path) -> None:
    points = [
        {"density": density, "run_density": density + 0.1, "sparse_density": density, "recall": density**0.5,
         "psnr": 20 + 20 * density, "ssim": 0.9, "seconds": 5 * density, "speedup": 1.5 - density / 2}
        for density in (0.1, 0.2, 0.3, 0.5, 0.7)
    ]  # fmt: skip
    write_sweep_page("svg", points, FACTS, ["careful."], COLOPHON, folder / "sweep.html")


def draw_tune(folder: Path) -> None:
    marks = [
        Mark(1 + 0.1 * n, 40 - 2 * n, f"caching, reuse {n} from 1 in 2–7, mlp 2", n % 2 == 0, n == 2)
        for n in range(8)
    ]
    names = ["recipe", "PSNR, dB", "speed-up, ×", "videos", "role"]
    rows = [[mark.name, mark.quality, mark.speedup, 3, "chosen" if mark.best else ""] for mark in marks]
    table = (names, rows)
    tuned = Tuned(marks, (1.25, 35.0), (None, 30.0), ("PSNR", "dB"), table, "reached.", (), 'name = "x"')
    write_tuning_page("PSNR ≥ 30 dB on a-model", tuned, FACTS, COLOPHON, folder / "tune.html")


def draw_atlas(folder: Path) -> None:
    atlas = {
        "model": "a-model", "videos": 2, "kinds": [["spatial", "temporal"], ["other", "spatial"]],
        "band": [[0.5, 0.6], [0.3, 0.9]], "shares": {"spatial": 0.5, "temporal": 0.25, "other": 0.25},
        "density": [0.1, 0.3, 0.5],
        "recall": {"static": [0.34, 0.71, 0.83], "svg": [0.31, 0.68, 0.81], "oracle": [0.49, 0.79, 0.9]},
        "recall_over_steps": [[0.5, 0.6], [0.6, 0.7], [None, None], [0.8, 0.9]],
    }  # fmt: skip
    write_atlas_page([atlas, {**atlas, "model": "a-model (random weights)"}], COLOPHON, folder / "atlas.html")


def draw_scores(folder: Path) -> None:
    names = {"miou": "mIoU", "map": "mAP, as the authors count it"}
    figures = {"miou": 0.5, "map": None}
    scores = {
        "figures": figures, "intervals": {key: [0.4, None] for key in names},
        "by_scene": {f"clip-{n}": figures for n in range(4)},
    }  # fmt: skip
    write_scores_page(scores, names, FACTS, COLOPHON, folder / "scores.html")


def draw_all(folder: Path) -> dict[str, Path]:
    """Every page but the report, by name."""
    for draw in (
        draw_saliency, draw_inspection, draw_ablation, draw_prefill, draw_sweep, draw_tune, draw_atlas, draw_scores,
    ):  # fmt: skip
        draw(folder)
    return {name: folder / f"{name}.html" for name in NAMES[1:]}


def set_window(browser: Any, width: int, scheme: str) -> None:
    """The window of a phone (390), a tablet (768) or a screen (1280), in "light" or "dark"."""
    window = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
