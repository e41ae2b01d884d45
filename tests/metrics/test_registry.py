"""The registry: every metric by name, and a reason instead of a stand-in where one cannot run."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch

from videosieve.errors import MetricError, ShapeError
from videosieve.metrics import (
    METRICS,
    MetricFiles,
    available_metrics,
    flip,
    measure,
    ms_ssim,
    psnr,
    ssim,
    ssim_uniform_per_frame,
    temporal_flicker,
    vmaf,
)

vmaf_module = import_module("videosieve.metrics.vmaf")  # the package's name vmaf is the function
ALWAYS = ("psnr", "ssim", "ssim_uniform", "ms_ssim", "flip", "temporal_flicker")


def make_pair(side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    reference = torch.rand(3, 3, side, side, generator=generator)
    return (reference + 0.05 * torch.randn(reference.shape, generator=generator)).clamp(0, 1), reference


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine without any weights and without imageio-ffmpeg."""
    monkeypatch.setattr("videosieve.metrics.weights._packaged", lambda *_: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    vmaf_module.why_no_vmaf.cache_clear()
    yield
    vmaf_module.why_no_vmaf.cache_clear()


def test_the_registry_gives_what_the_functions_give():
    video, reference = make_pair()
    result = measure(ALWAYS, video, reference)
    assert list(result) == list(ALWAYS)
    expected = {
        "psnr": psnr(video, reference).mean,
        "ssim": ssim(video, reference),
        "ssim_uniform": ssim_uniform_per_frame(video, reference).mean().item(),
        "ms_ssim": ms_ssim(video, reference).mean,
        "flip": flip(video, reference).mean().item(),
        "temporal_flicker": temporal_flicker(video),
    }
    for name, value in expected.items():
        assert result[name].value == pytest.approx(value)
        assert sum(result[name].frames) / len(result[name].frames) == pytest.approx(value)
    assert "2 of 5 scales" in str(result["ms_ssim"])
    assert f"worst frame {psnr(video, reference).worst:.2f}" in result["psnr"].note


def test_better_is_lower_or_higher_as_the_registry_says():
    video, reference = make_pair()
    worse = (reference + 3 * (video - reference)).clamp(0, 1)
    for name in ("psnr", "ssim", "ssim_uniform", "ms_ssim", "flip"):
        near, far = (measure([name], x, reference)[name].value for x in (video, worse))
        assert near is not None
        assert far is not None
        assert (near > far) == (METRICS[name].better == "higher")


@pytest.mark.usefixtures("bare")
def test_what_is_missing_is_said_and_never_replaced():
    reasons = available_metrics()
    assert [name for name, reason in reasons.items() if not reason] == list(ALWAYS)
    assert "stlpips-pytorch" in reasons["st_lpips"]
    assert "alexnet-owt" in reasons["lpips"]
    assert "imageio-ffmpeg is not installed" in reasons["vmaf"]
    for name, result in measure(("st_lpips", "lpips", "vmaf"), *make_pair()).items():
        assert result.value is None
        assert result.frames == ()
        assert str(result) == f"unavailable: {reasons[name]}"


@pytest.mark.usefixtures("bare")
def test_lpips_without_heads_names_the_heads_and_a_wrong_path_is_named(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "alexnet-owt-0.pth").touch()
    assert "linear heads" in available_metrics()["lpips"]
    missing = MetricFiles(st_lpips=tmp_path / "nowhere.pth")
    assert "nowhere.pth' does not exist" in available_metrics(missing)["st_lpips"]


def test_frames_that_a_metric_cannot_take_are_its_reason_alone():
    result = measure(("psnr", "ssim", "ms_ssim"), *make_pair(side=16))
    assert result["psnr"].value is not None
    assert result["ssim"].value is not None
    assert "needs 2 to 5 scales" in result["ms_ssim"].reason


def test_unknown_names_and_unlike_videos_are_refused():
    video, reference = make_pair()
    with pytest.raises(MetricError, match="unknown metrics fvd; there are psnr, ssim"):
        measure(["psnr", "fvd"], video, reference)
    with pytest.raises(ShapeError, match="one shape"):
        measure(["psnr"], video, reference[:2])


def test_vmaf_falls_with_noise_frame_by_frame():
    if vmaf_module.why_no_vmaf():
        pytest.skip(vmaf_module.why_no_vmaf())
    video, reference = make_pair()
    worse = (reference + 4 * (video - reference)).clamp(0, 1)
    mixed = torch.cat([video[:2], worse[2:]])
    good, bad = vmaf(video, reference), vmaf(mixed, reference)
    assert good.shape == (3,)
    assert ((good >= 0) & (good <= 100)).all()
    assert bad[2] < good[2] - 10
    assert bad[0].item() == pytest.approx(good[0].item(), abs=1e-3)


def test_vmaf_names_an_ffmpeg_without_libvmaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("imageio_ffmpeg")
    plain = tmp_path / "ffmpeg"
    plain.write_text("#!/bin/sh\necho ' T. ssim  VV->V  Calculate SSIM, not libvmaf.'\n")
    plain.chmod(0o755)
    monkeypatch.setattr(vmaf_module, "_ffmpeg", lambda: str(plain))
    vmaf_module.why_no_vmaf.cache_clear()
    assert "built without libvmaf" in vmaf_module.why_no_vmaf()
    with pytest.raises(MetricError, match="VMAF is unavailable: .*built without libvmaf"):
        vmaf(*make_pair())
    vmaf_module.why_no_vmaf.cache_clear()


@pytest.mark.parametrize("shape", [(2, 3, 18, 32), (2, 3, 33, 32), (2, 1, 32, 32)])
def test_vmaf_refuses_frames_that_crash_it(shape: tuple[int, ...]):
    with pytest.raises(ShapeError, match="even sides of at least 20 pixels"):
        vmaf(torch.rand(shape), torch.rand(shape))
