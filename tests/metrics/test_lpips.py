"""LPIPS and ST-LPIPS with random weights against torch modules; the real weights where installed."""

from pathlib import Path

import pytest
import torch
from torch import nn

from videosieve.errors import MetricError, ShapeError
from videosieve.metrics import MetricFiles, lpips, st_lpips
from videosieve.metrics.weights import find_st_lpips

CHANNELS = (64, 192, 384, 256, 256)
TOLERANT = ("slice1.0", "slice2.5", "slice3.9", "slice4.11", "slice5.13")


class Blur(nn.Module):
    """Reflect by 2, then every second value of a 1-2-1 mean down and across, from slices."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.ReflectionPad2d(2)(x)
        x = (x[..., :-2, :] + 2 * x[..., 1:-1, :] + x[..., 2:, :]) / 4
        x = (x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]) / 4
        return x[..., ::2, ::2]


def plain_stages() -> list[nn.Sequential]:
    return [
        nn.Sequential(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    ]


def tolerant_stages() -> list[nn.Sequential]:
    return [
        nn.Sequential(nn.Conv2d(3, 64, 11, 1, 2), Blur(), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 1), Blur(), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 1), Blur(), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    ]


def convolution(stage: nn.Sequential) -> nn.Conv2d:
    return next(module for module in stage if isinstance(module, nn.Conv2d))


def make_heads() -> dict[str, torch.Tensor]:
    return {f"lin{i}.model.1.weight": torch.rand(1, count, 1, 1) for i, count in enumerate(CHANNELS)}


def expected_distance(
    stages: list[nn.Sequential], heads: dict[str, torch.Tensor], a: torch.Tensor, b: torch.Tensor
) -> float:
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    total, a, b = 0.0, (a - mean) / deviation, (b - mean) / deviation
    with torch.no_grad():
        for i, stage in enumerate(stages):
            a, b = stage(a), stage(b)
            difference = (nn.functional.normalize(a, eps=1e-12) - nn.functional.normalize(b, eps=1e-12)) ** 2
            total += float((difference * heads[f"lin{i}.model.1.weight"]).sum(1).mean())
    return total


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path, list[nn.Sequential], dict[str, torch.Tensor]]:
    """Backbone, heads and ST-LPIPS weights on disk; the modules that they came from, and the heads."""
    torch.manual_seed(0)
    stages, heads = plain_stages(), make_heads()
    trunk = {
        f"features.{place}.{part}": getattr(convolution(stage), part).detach()
        for stage, place in zip(stages, (0, 3, 6, 8, 10), strict=True)
        for part in ("weight", "bias")
    }
    tolerant = {
        f"net.{name}.{part}": getattr(convolution(stage), part).detach()
        for stage, name in zip(stages, TOLERANT, strict=True)
        for part in ("weight", "bias")
    }
    paths = tuple(tmp_path / name for name in ("backbone.pth", "heads.pth", "tolerant.pth"))
    for path, tensors in zip(paths, (trunk, heads, tolerant | heads), strict=True):
        torch.save(tensors, path)
    return *paths, stages, heads


def make_pair(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    reference = torch.rand(2, 3, side, side + 5, generator=generator)
    return (reference + 0.1 * torch.randn(reference.shape, generator=generator)).clamp(0, 1), reference


@pytest.mark.parametrize("side", [31, 47])
def test_lpips_is_the_distance_of_alexnets_features(files, side: int):
    backbone, heads_file, _, stages, heads = files
    video, reference = make_pair(side)
    expected = [expected_distance(stages, heads, video[i : i + 1], reference[i : i + 1]) for i in range(2)]
    assert lpips(video, reference, backbone, heads_file).tolist() == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("side", [21, 40])
def test_st_lpips_is_the_distance_of_the_blurring_network(files, side: int):
    *_, weights, stages, heads = files
    tolerant = tolerant_stages()
    for mine, theirs in zip(tolerant, stages, strict=True):
        convolution(mine).load_state_dict(convolution(theirs).state_dict())
    video, reference = make_pair(side)
    expected = [expected_distance(tolerant, heads, video[i : i + 1], reference[i : i + 1]) for i in range(2)]
    assert st_lpips(video, reference, weights).tolist() == pytest.approx(expected, rel=2e-3)


def test_identical_frames_are_at_distance_zero_and_the_order_does_not_matter(files):
    *_, weights, _, _ = files
    video, reference = make_pair(32)
    assert st_lpips(reference, reference, weights).tolist() == [0, 0]
    torch.testing.assert_close(st_lpips(video, reference, weights), st_lpips(reference, video, weights))


def test_frames_too_small_or_not_rgb_are_refused(files):
    backbone, heads, weights, *_ = files
    small, grey = torch.rand(1, 3, 20, 40), torch.rand(1, 1, 40, 40)
    for video in (small, grey):
        with pytest.raises(ShapeError, match="ST-LPIPS needs RGB frames of at least 21"):
            st_lpips(video, video, weights)
    with pytest.raises(ShapeError, match="LPIPS needs RGB frames of at least 31"):
        lpips(torch.rand(1, 3, 30, 40), torch.rand(1, 3, 30, 40), backbone, heads)


def test_other_files_are_refused(files, tmp_path: Path):
    backbone, heads, *_ = files
    video = torch.rand(1, 3, 32, 32)
    with pytest.raises(MetricError, match="holds other weights: it lacks net.slice1.0.weight"):
        st_lpips(video, video, backbone)
    with pytest.raises(MetricError, match="lacks lin0.model.1.weight"):
        lpips(video, video, backbone, backbone)
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"not a weight file")
    with pytest.raises(MetricError, match="cannot read weights"):
        lpips(video, video, broken, heads)
    with pytest.raises(MetricError, match="cannot read weights"):
        st_lpips(video, video, tmp_path / "missing.pth")


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("bomb-went-off"),))


def test_a_weight_file_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save(Bomb(), tmp_path / "bomb.pth")
    video = torch.rand(1, 3, 32, 32)
    with pytest.raises(MetricError, match="cannot read weights"):
        st_lpips(video, video, tmp_path / "bomb.pth")
    assert not (tmp_path / "bomb-went-off").exists()


def test_the_published_weights_forgive_a_shift_and_not_a_blur():
    try:
        weights = find_st_lpips(MetricFiles())
    except MetricError as error:
        pytest.skip(str(error))
    i, j = torch.arange(64.0).view(-1, 1), torch.arange(65.0).view(1, -1)
    wide = torch.stack([((i - 30) ** 2 + (j - 33) ** 2 < 300).float(), (i + j) / 129, ((i // 8) % 2) + 0 * j])
    reference, moved = wide[None, ..., :-1], wide[None, ..., 1:]
    blurred = nn.functional.avg_pool2d(nn.functional.pad(reference, (3, 3, 3, 3), mode="replicate"), 7, 1)
    assert st_lpips(moved, reference, weights).item() < 0.5 * st_lpips(blurred, reference, weights).item()
