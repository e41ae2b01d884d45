"""A small finished comparison, made up, with real media files; and a browser, where there is one."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from page_kinds import draw_all

from videosieve.generation.media import write_poster, write_video
from videosieve.report import Atlas, ClipResult, Results, write_report
from videosieve.report.results import COMPLETE

FRAMES, FPS = 16, 8.0
PROMPT = "a small red circle moves left & up"


def make_clip(method: str, seed: int, folder: Path) -> ClipResult:
    dense = method == "dense"
    stem = f"{method}-{seed}"
    frames = torch.rand(FRAMES, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    files = {"video": f"{stem}.mp4", "poster": f"{stem}.png", "trace": f"{stem}.trace.jsonl"}
    write_video(frames, folder / files["video"], FPS)
    write_poster(frames, folder / files["poster"])
    if not dense:
        files["difference"] = f"{stem}.difference.mp4"
        write_video(frames, folder / files["difference"], FPS)
    return ClipResult(
        method=method,
        kind="baseline" if dense else "method",
        prompt=PROMPT,
        seed=seed,
        seconds=4.0 if dense else 2.5,
        denoising_seconds=3.0 if dense else 1.5,
        attention_seconds=2.0 if dense else 0.5,
        text_seconds=0.25,
        decode_seconds=0.5,
        peak_bytes=3 * 2**20,
        speedup=1.0 if dense else 1.6,
        run_density=1.0 if dense else 0.5,
        sparse_density=None if dense else 0.3,
        recall=None if dense else 0.875,
        recall_steps=[None, None, None] if dense else [None, 0.85, 0.9],
        density_steps=[1.0, 1.0, 1.0] if dense else [1.0, 0.3, 0.3],
        dense_steps=[True, dense, dense],
        dense_reasons={},
        psnr=None if dense else 31.25,
        psnr_pooled=None if dense else 30.5,
        psnr_worst=None if dense else 28.75,
        psnr_frames=None if dense else [28.75 + index / 4 for index in range(FRAMES)],
        ssim=None if dense else 0.9125,
        ssim_frames=None if dense else [0.9 + index / 600 for index in range(FRAMES)],
        scores={} if dense else {"latent_relative_l2": 0.125},
        accuracy={"colour": 1.0, "motion": 1.0 if dense else 0.0, "all": 1.0 if dense else 0.0},
        atlas=Atlas(["spatial", "temporal"], [0, 1, 2], [["--"], ["01"], ["11"]])
        if method == "svg"
        else None,
        files=files,
        all_seconds=[4.0 if dense else 2.5],
    )


def make_results(folder: Path, seeds: tuple[int, ...] = (0,)) -> Results:
    results = Results(
        model="shapes-s",
        pipeline="ShapesPipeline",
        machine={"device": "cpu", "processor": "Test × 2", "threads": "2", "memory": "4 GiB", "system": "Linux"},
        versions={"videosieve": "0.1.0", "torch": "2"},
        settings={
            "steps": 3, "height": 16, "width": 16, "frames": FRAMES, "guidance": None, "negative_prompt": "",
            "dtype": "float32", "repeats": 1, "warm_up_steps": 2, "fps": FPS, "difference_gain": 4.0,
        },
        recipes={"dense": 'name = "dense"', "svg": 'name = "svg"', "other": 'name = "other"'},
        created="2026-01-01T00:00:00+00:00",
        dense_kernel="sdpa",
        command="videosieve compare --methods svg,other",
        unavailable={"st_lpips": "stlpips-pytorch is not installed"},
        status=COMPLETE,
    )  # fmt: skip
    results.clips += [make_clip(method, seed, folder) for seed in seeds for method in results.recipes]
    results.save(folder)
    return results


@pytest.fixture(scope="session")
def results_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    make_results(folder)
    return folder


@pytest.fixture(scope="session")
def pages(results_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of every kind, by name."""
    return {"report": write_report(results_folder), **draw_all(tmp_path_factory.mktemp("pages"))}


@pytest.fixture
def two_seeds(tmp_path: Path) -> tuple[Results, Path]:
    return make_results(tmp_path, seeds=(0, 1)), tmp_path


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One browser for all tests that look at pages; a module opens its page in it."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip(
            "chromium or chromedriver is not installed (Debian: apt-get install chromium chromium-driver)"
        )
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "window-size=1280,900",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture(scope="session")
def show(chromium: Any) -> Callable[[Path], Any]:
    """Opens a page in the browser, at 1280 pixels and as the system likes it."""

    def opened(path: Path) -> Any:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        chromium.get_log("browser")  # what an earlier page said is its own affair
        chromium.get(path.resolve().as_uri())
        return chromium

    return opened
