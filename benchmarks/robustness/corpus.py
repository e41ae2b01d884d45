"""Files of every kind that the library reads: how a sound one is written, and how it is read."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from videosieve import Recipe, Trace
from videosieve.batch.jobs import Job, Order, Outcome
from videosieve.batch.manifest import Manifest
from videosieve.batch.prompts import read_prompts
from videosieve.batch.vbench import read_vbench_prompts
from videosieve.comparison.ledger import Ledger, Prepared, read_baseline
from videosieve.comparison.plan import check_folder
from videosieve.concepts.maps import SaliencyMaps
from videosieve.generation.footage import read_footage
from videosieve.generation.model_folder import check_parts
from videosieve.generation.request import Request, pipeline_arguments
from videosieve.judging.batches import FinishedBatches
from videosieve.metrics.lpips import load_weights
from videosieve.metrics.vbench import read_vbench_results
from videosieve.planning.machine import describe_machine, describe_versions
from videosieve.report import ClipResult, Results, write_report
from videosieve.shapes.checkpoint import read_checkpoint, write_checkpoint
from videosieve.shapes.training.train import read_log
from videosieve.trace import Record
from videosieve.tuning.search import Candidate, Journal, Point

PROMPTS = ("a red circle\u2028moves left", "un carré bleu\x0b 猫\x85")
CLIP: dict[str, Any] = {
    "method": "dense",
    "kind": "baseline",
    "prompt": "a",
    "seed": 0,
    "seconds": 4.0,
    "denoising_seconds": 3.0,
    "attention_seconds": 2.0,
    "text_seconds": 0.25,
    "decode_seconds": None,
    "peak_bytes": None,
    "speedup": 1.0,
    "run_density": 1.0,
    "sparse_density": None,
    "recall": None,
    "recall_steps": [None],
    "density_steps": [1.0],
    "dense_steps": [True],
    "dense_reasons": {"warm-up": 2},
    "psnr": None,
    "psnr_pooled": None,
    "psnr_worst": None,
    "psnr_frames": None,
    "ssim": None,
    "ssim_frames": None,
    "scores": {},
    "accuracy": None,
    "atlas": None,
    "files": {"video": "dense.mp4", "poster": "dense.png", "trace": "dense.trace.jsonl"},
    "all_seconds": [4.0],
}
SVG = {
    **CLIP,
    "method": "svg",
    "kind": "method",
    "speedup": 2.0,
    "seconds": 2.0,
    "sparse_density": 0.3,
    "recall": 0.9,
    "psnr": 30.0,
    "psnr_pooled": 30.0,
    "psnr_worst": 29.0,
    "psnr_frames": [30.0],
    "ssim": 0.9,
    "ssim_frames": [0.9],
    "atlas": {"patterns": ["spatial"], "steps": [0], "choice": [["0"]]},
    "dense_steps": [False],
    "scores": {"latent_relative_l2": 0.1},
}
ORDER = Order("shapes-s", Recipe.of("svg").to_toml(), "out")


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: What the table calls it.
        file: Its name in a folder.
        text: Whether it is text, so that encodings can vary.
        write: Writes a sound one into a folder.
        read: Reads it as the library does.
    """

    name: str
    file: str
    text: bool
    write: Callable[[Path], None]
    read: Callable[[Path], Any]


def _text(file: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_bytes(content.encode()) and None


def write_results(folder: Path) -> None:
    """Leave the results of a comparison of one dense video and one by svg."""
    clips = [ClipResult.from_json(clip) for clip in (CLIP, SVG)]
    settings = {"steps": 1, "height": 16, "width": 16, "frames": 2, "guidance": None, "negative_prompt": "",
                "dtype": "float32", "repeats": 1, "warm_up_steps": 2, "fps": 8.0, "difference_gain": 4.0}  # fmt: skip
    recipes = {"dense": Recipe.of("dense").to_toml(), "svg": Recipe.of("svg").to_toml()}
    Results(
        "m",
        "P",
        describe_machine(torch.device("cpu")),
        describe_versions(),
        settings,
        recipes,
        "now",
        clips=clips,
    ).save(folder)
    for name in CLIP["files"].values():
        (folder / name).write_bytes(b"")


def _log(cls: Any, path: str, header: Any, lines: list[dict[str, Any]]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        with cls(folder / path if cls is not Ledger else folder, *header) as log:
            for line in lines:
                log.append(line)

    return write


def _lines_of(cls: Any, path: str, header: Any) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        with cls(folder / path if cls is not Ledger else folder, *header) as log:
            if cls is Ledger:
                return log.prepared, log.takes(0), log.starts
            return log.lines, getattr(log, "elapsed", 0)

    return read


_POINT = Point(Candidate(), (30.0,), (), (1.0,), (2.0,), 0.5, 1)
_RECORDS = [
    Record(0, 0, "cond", "dense", "warm-up\u2028 \x0b", "sdpa", 10, 1.0),
    Record(
        1,
        1,
        "cond",
        "sparse",
        "",
        "native",
        10,
        0.3,
        [0.9, float("nan")],
        ["spatial", "[red]"],
        1.5,
        (0, "cond"),
    ),
]


def kinds() -> list[Kind]:
    """Every kind of file that the library reads."""
    rows = (
        "\n".join(json.dumps({"prompt": prompt, "seed": 3}, ensure_ascii=False) for prompt in PROMPTS) + "\n"
    )
    table = 'prompt,seed,negative_prompt\n"a red, ""circle""",3,\nun carré,,猫\n'
    manifest = ((ORDER, [Job(0, "a")]), [Outcome(0, "done", "a.mp4").as_json()])
    take = {"kind": "take", "scene": 0, "repeat": 0, "row": CLIP, "also": {"unavailable": {}, "size": {}}}
    ledger = [{"kind": "start", "at": "now"}, {"kind": "prepared", "found": asdict(Prepared("sdpa"))}, take]
    journal = [{"kind": "point", "took": 1.5, "point": _POINT.as_json()}]
    vbench = [{"prompt_en": "a cat", "dimension": ["scene"]}]
    listed = "\n".join(PROMPTS) + "\n"
    return [
        Kind("prompts.txt", "p.txt", True, _text("p.txt", listed), lambda f: read_prompts(f / "p.txt")),
        Kind("prompts.csv", "p.csv", True, _text("p.csv", table), lambda f: read_prompts(f / "p.csv")),
        Kind("prompts.jsonl", "p.jsonl", True, _text("p.jsonl", rows), lambda f: read_prompts(f / "p.jsonl")),
        Kind("vbench.json", "v.json", True, _text("v.json", json.dumps(vbench)),
             lambda f: read_vbench_prompts(f / "v.json")),
        Kind("vbench results", "r.json", True, _text("r.json", '{"scene": [0.5, []]}'),
             lambda f: read_vbench_results([f / "r.json"])),
        Kind("recipe", "r.toml", True, _text("r.toml", Recipe.of("svg-wan").to_toml()),
             lambda f: Recipe.load(f / "r.toml")),
        Kind("trace", "t.jsonl", True, lambda f: Trace(_RECORDS).save(f / "t.jsonl"), lambda f: (
            [repr(record) for record in Trace.load(f / "t.jsonl").records])),
        Kind("results", "results.json", True, write_results, lambda f: (Results.load(f), check_folder(f))),
        Kind("report", "results.json", True, write_results, write_report),
        Kind("manifest", "m.jsonl", False, _log(Manifest, "m.jsonl", *manifest),
             _lines_of(Manifest, "m.jsonl", manifest[0])),
        Kind("ledger", "unfinished.jsonl", False, _log(Ledger, "", ({"steps": 1},), ledger),
             _lines_of(Ledger, "", ({"steps": 1},))),
        Kind("journal", "j.jsonl", False, _log(Journal, "j.jsonl", ({"goal": 1},), journal),
             _lines_of(Journal, "j.jsonl", ({"goal": 1},))),
        Kind("training log", "log.jsonl", True, _text(
            "log.jsonl", '{"step": 1, "samples": 8, "loss": 0.5, "frames": 16}\n' * 3), read_log),
        *_binary(),
    ]  # fmt: skip


def _binary() -> list[Kind]:
    maps = SaliencyMaps(
        ("a", "b"), torch.rand(2, 2, 3, 3), "concept", (0,), (0,), {(0,): torch.rand(2, 2, 3, 3)}
    )
    state = {"count": 1, "samples": 8, "spent": 1.0, "recent": [0.5], "config": {"model": "shapes-nano"}}
    frames = torch.rand(1, 2, 3, 4, 4)
    index = {"_class_name": "WanPipeline", "vae": ["diffusers", "AutoencoderKLWan"]}

    def picture(folder: Path) -> None:
        Image.new("RGB", (8, 8)).save(folder / "i.png")

    def animation(folder: Path) -> None:
        Image.new("RGB", (8, 8)).save(
            folder / "a.gif", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")]
        )

    def model(folder: Path) -> None:
        (folder / "vae").mkdir(exist_ok=True)
        (folder / "model_index.json").write_text(json.dumps(index))
        save_file({"a": torch.zeros(3)}, folder / "vae" / "diffusion_pytorch_model.safetensors")

    def batches(folder: Path) -> None:
        FinishedBatches(folder, "set", {"steps": 1}).keep(0, frames)

    return [
        Kind("saliency maps", "s.safetensors", False, lambda f: maps.save(f / "s.safetensors") and None,
             lambda f: SaliencyMaps.load(f / "s.safetensors")),
        Kind("checkpoint", "c.safetensors", False, lambda f: write_checkpoint(
            f / "c.safetensors", {"x": torch.zeros(2)}, state), lambda f: read_checkpoint(f / "c.safetensors")),
        Kind("kept baseline", "b.safetensors", False, lambda f: save_file(
            {"frames": frames[0]}, f / "b.safetensors"), lambda f: read_baseline(f / "b.safetensors")),
        Kind("finished batch", "set-0.safetensors", False, batches,
             lambda f: FinishedBatches(f, "set", {"steps": 1}).find(0)),
        Kind("weights of a part", "vae/diffusion_pytorch_model.safetensors", False, model, check_parts),
        Kind("model index", "model_index.json", True, model, check_parts),
        Kind("LPIPS weights", "w.pth", False, lambda f: torch.save({"x": torch.zeros(3)}, f / "w.pth"),
             lambda f: load_weights(f / "w.pth", ["x"])),
        Kind("picture", "i.png", False, picture, lambda f: pipeline_arguments(
            Painter(), Request("a", image=f / "i.png"))["image"].size),
        Kind("animation", "a.gif", False, animation, lambda f: read_footage(f / "a.gif").shape),
    ]  # fmt: skip


class Painter:
    """A pipeline that takes an image, as far as requests look at it."""

    def __call__(
        self, prompt: str, image: Any, num_inference_steps: int = 1, guidance_scale: float = 1.0
    ) -> None:
        """Nothing is made."""
