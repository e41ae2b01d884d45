"""The papers' tables beside our own measurements: `python -m benchmarks.paper_tables`.

Prints Sparse VideoGen's Tables 1 to 3 and Figures 7 and 8, XAttention's video table and AdaSpa's comparison: the
published figures with their stated baselines from `published.toml`, and what this machine measures with the same
recipes on the bundled model or on a checkpoint's folder. What is not measured says so; nothing is filled in.

Another model, another length, another machine: compare the order of methods and the trade, not single figures.

    python -m benchmarks.paper_tables --prompts 8 --seeds 2
    python -m benchmarks.paper_tables --print                  # only print what earlier calls measured
    python -m benchmarks.paper_tables --model ./HunyuanVideo --prompt-file prompts.txt --height 720 --width 1280
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.paper_kernels import time_bands
from benchmarks.paper_runs import Runs, Spec, make_videos, scene_name, spec_name
from videosieve.bench.timing import describe_machine
from videosieve.errors import RecipeError
from videosieve.files import parse_toml, write_text
from videosieve.generation.load import check_words, is_shapes, load_pipeline
from videosieve.generation.request import Request

PUBLISHED = Path(__file__).parent / "published.toml"
RESULTS = Path(__file__).parent / "results"
PAPER = {
    "psnr": ("PSNR, dB", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "lpips": ("LPIPS", ".3f"),
    "density": ("density", ".3f"),
    "pflops": ("PFLOPs", ".1f"),
    "seconds": ("s", ".0f"),
    "speedup": ("speed-up", ".2f"),
}
OURS = {
    "psnr": ("PSNR, dB", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "lpips": ("LPIPS", ".3f"),
    "st_lpips": ("ST-LPIPS", ".4f"),
    "run_density": ("run density", ".3f"),
    "recall": ("recall", ".3f"),
    "dense_seconds": ("s dense", ".2f"),
    "seconds": ("s", ".2f"),
    "speedup": ("speed-up", ".2f"),
    "attention_speedup": ("of attention", ".2f"),
}
NOTHING, NOT_MEASURED = "", "not measured"
Table = dict[str, Any]
Row = dict[str, Any]


def read_published(path: Path = PUBLISHED) -> list[Table]:
    """The published tables."""
    return parse_toml(path.read_text(encoding="utf-8"), str(path), RecipeError)["table"]


def wanted_specs(tables: list[Table]) -> list[Spec]:
    """Every recipe that a table asks for, once."""
    specs = {spec_name(row["ours"]): row["ours"] for table in tables for row in table["row"] if "ours" in row}
    return list(specs.values())


def wanted_densities(tables: list[Table]) -> list[float]:
    """Every density that a table wants of the kernels."""
    return sorted({row["kernel"]["density"] for table in tables for row in table["row"] if "kernel" in row})


def our_figures(
    row: Row, runs: Runs, scenes: list[str], kernels: list[dict[str, Any]]
) -> dict[str, Any] | str:
    """What this machine measured for a row, or why there is nothing."""
    if "not_measured" in row:
        return f"{NOT_MEASURED}: {row['not_measured']}"
    if "kernel" in row:
        for entry in kernels:
            if (entry["density"], entry["transformed"]) == (
                row["kernel"]["density"],
                row["kernel"]["transformed"],
            ):
                return {
                    "run_density": entry["executed"],
                    "attention_speedup": entry["speedup"],
                    "dense_seconds": entry["dense_ms"] / 1e3,
                    "seconds": entry["ms"] / 1e3,
                }
        return NOT_MEASURED
    summary = runs.summary(row["ours"], scenes)
    if summary is None:
        return NOT_MEASURED
    if row["ours"]["recipe"] == "dense":
        return {
            "seconds": summary["seconds"],
            "run_density": summary["run_density"],
            "videos": summary["videos"],
        }
    return summary


def render(table: Table, runs: Runs, scenes: list[str], kernels: list[dict[str, Any]]) -> str:
    """A table as Markdown: what the paper says, and beside it what this machine measured."""
    ours = [our_figures(row, runs, scenes, kernels) for row in table["row"]]
    paper = {key: value for key, value in PAPER.items() if any(key in row for row in table["row"])}
    shown = {
        key: value
        for key, value in OURS.items()
        if any(isinstance(figures, dict) and figures.get(key) is not None for figures in ours)
    }
    titles = ["model", "method", *(title for title, _ in paper.values())]
    titles += [f"ours: {title}" for title, _ in shown.values()] + ["ours: videos"]
    lines = [
        f"## {table['title']}",
        "",
        f"- Source: {table['source']} ({table['evidence']}).",
        f"- Published on {table['hardware']}; baseline: {table['baseline']}.",
        f"- Protocol: {table['protocol']}.",
        *([f"- Note: {table['note']}."] if "note" in table else []),
        "",
        f"| {' | '.join(titles)} |",
        "| --- " * len(titles) + "|",
    ]
    for row, figures in zip(table["row"], ours, strict=True):
        cells = [row["model"], row["method"], *(_cell(row, key, form) for key, (_, form) in paper.items())]
        if isinstance(figures, str):
            cells += [NOTHING] * len(shown) + [figures]
        else:
            cells += [_cell(figures, key, form) for key, (_, form) in shown.items()]
            cells.append(str(figures.get("videos", "kernel alone")))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def heading(runs: Runs, scenes: list[str]) -> str:
    """What our columns are."""
    dense = runs.summary({"recipe": "dense"}, scenes)
    settings = ", ".join(
        f"{key} {value}" for key, value in runs.data["settings"].items() if value is not None
    )
    lines = [
        "# Published tables and ours",
        "",
        f"Ours: {settings}; PSNR, SSIM and LPIPS of decoded frames before any codec against the dense video of the "
        f"same noise, means over videos; seconds and speed-ups of the whole call, medians; ST-LPIPS is not LPIPS.",
    ]
    if dense is None:
        return "\n".join([*lines, "", f"Nothing of ours was measured yet ({runs.path}).", ""])
    machines = "; ".join(
        ", ".join(f"{key} {value}" for key, value in machine.items()) for machine in runs.data["machines"]
    )
    return "\n".join([*lines, "", f"Our dense kernel: {dense['kernel']}. Machine: {machines}.", ""])


def _cell(values: dict[str, Any], key: str, form: str) -> str:
    value = values.get(key)
    return NOTHING if value is None else format(value, form)


def make_requests(given: argparse.Namespace) -> list[Request]:
    """The scenes: captions that training never rendered, or the lines of a file."""
    if given.prompt_file is not None:
        texts = [
            line.strip()
            for line in given.prompt_file.read_text(encoding="utf-8").splitlines()
            if line.strip()
        ]
        texts = texts[: given.prompts]
    elif is_shapes(given.model):
        from videosieve.judging.evaluate import unseen_captions

        texts = unseen_captions(given.prompts)
    else:
        raise SystemExit("a checkpoint other than the bundled model needs --prompt-file, one prompt a line")
    check_words(given.model, *texts)
    return [
        Request(
            text, steps=given.steps, seed=seed, height=given.height, width=given.width, frames=given.frames
        )
        for text in texts
        for seed in range(given.seeds)
    ]


def time_kernels(path: Path, densities: list[float], again: bool) -> list[dict[str, Any]]:
    """The kernel timings of the file, made if they are not there and wanted."""
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))["bands"]
    if not again or not densities:
        return []
    bands = time_bands(densities)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(
        path, json.dumps({"schema": 1, "machine": describe_machine(), "bands": bands}, indent=1) + "\n"
    )
    return bands


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument(
        "--model", default="shapes-s", help="the bundled model, or a folder in diffusers' format"
    )
    parser.add_argument("--tables", default="", help="ids of published.toml, comma-separated; default: all")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, help="default: the model's own")
    parser.add_argument("--prompt-file", type=Path, help="one prompt a line; the first --prompts are taken")
    for name in ("height", "width", "frames"):
        parser.add_argument(f"--{name}", type=int, help="default: the model's own")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the JSON files")
    parser.add_argument("--print", action="store_true", dest="only_print", help="measure nothing")
    given = parser.parse_args(arguments)
    tables = read_published()
    chosen = [name for name in given.tables.split(",") if name] or [table["id"] for table in tables]
    if unknown := set(chosen) - {table["id"] for table in tables}:
        raise SystemExit(
            f"no table {', '.join(sorted(unknown))}; there are {', '.join(t['id'] for t in tables)}"
        )
    tables = [table for table in tables if table["id"] in chosen]
    name = Path(given.model).name
    settings = {"model": name} | {key: getattr(given, key) for key in ("steps", "height", "width", "frames")}
    runs, requests = Runs(given.output / f"paper_tables_{name}.json", settings), make_requests(given)
    scenes = [scene_name(request) for request in requests]
    specs = wanted_specs(tables)
    if not given.only_print and specs and any(runs.missing(scene, specs) for scene in scenes):
        make_videos(
            runs, load_pipeline(given.model), requests, specs, lambda line: print(line, file=sys.stderr)
        )
    kernels = time_kernels(
        given.output / "paper_kernels.json", wanted_densities(tables), not given.only_print
    )
    print(heading(runs, scenes))
    for table in tables:
        print(render(table, runs, scenes, kernels))


if __name__ == "__main__":
    main()
