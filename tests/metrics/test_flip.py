"""FLIP against the authors' program, against the colour formula on flat images, and its invariances."""

import math

import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.metrics import flip, heat_map


def make_pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Waves, chirps and a checkerboard [1, 3, 40, 48]; the video is dimmed and moved by two pixels."""
    i, j = torch.arange(40).double().view(-1, 1), torch.arange(48).double().view(1, -1)
    reference = torch.stack(
        [
            0.5 + 0.5 * torch.sin(0.3 * i + 0.1 * j),
            0.5 + 0.5 * torch.cos(0.05 * i * j / 7),
            ((i // 8 + j // 8) % 2) * 0.8 + 0.1 * torch.ones_like(i + j),
        ]
    )
    return (reference.roll(2, -1) * 0.9 + 0.05)[None], reference[None]


# flip-evaluator 1.7 (fp32) on the pair above: mean and four pixels, at two viewing distances.
AUTHORS = [
    (
        67.0206,
        0.50524914,
        {(0, 0): 0.9692876, (13, 21): 0.39783734, (39, 47): 0.42782933, (20, 5): 0.47228718},
    ),
    (20.0, 0.56787241, {(0, 0): 0.9651162, (13, 21): 0.40368697, (39, 47): 0.218908, (20, 5): 0.3878044}),
]


@pytest.mark.parametrize(("pixels_per_degree", "mean", "pixels"), AUTHORS)
def test_flip_agrees_with_its_authors_program(
    pixels_per_degree: float, mean: float, pixels: dict[tuple[int, int], float]
):
    result = flip(*make_pair(), pixels_per_degree)[0]
    assert result.mean().item() == pytest.approx(mean, abs=2e-6)
    for (row, column), expected in pixels.items():
        assert result[row, column].item() == pytest.approx(expected, abs=5e-6)


def flat(*colour: float) -> torch.Tensor:
    return torch.tensor(colour).double().view(1, 3, 1, 1).expand(1, 3, 12, 12)


def test_green_and_blue_are_the_farthest_flat_colours():
    torch.testing.assert_close(flip(flat(0, 1, 0), flat(0, 0, 1)), torch.ones(1, 12, 12).double())


def test_flat_greys_follow_the_lightness_formula():
    """Greys have no colour, no edges: |ΔL*|^0.7 below the knee, over 0.4 of green against blue, times 0.95."""

    def lightness(grey: float) -> float:
        linear = ((grey + 0.055) / 1.055) ** 2.4
        return 116 * linear ** (1 / 3) - 16

    green = (87.73509949, -86.18307635, 83.17970318)  # CIELAB of the sRGB primaries, D65
    blue = (32.29567257, 79.18557525, -107.86573330)
    hunt = [(c[0], 0.01 * c[0] * c[1], 0.01 * c[0] * c[2]) for c in (green, blue)]
    most = abs(hunt[0][0] - hunt[1][0]) + math.dist(hunt[0][1:], hunt[1][1:])
    expected = abs(lightness(0.6) - lightness(0.5)) ** 0.7 * 0.95 / (0.4 * most**0.7)
    assert flip(flat(0.6, 0.6, 0.6), flat(0.5, 0.5, 0.5)).mean().item() == pytest.approx(expected, rel=1e-3)


def test_nothing_changed_is_black_and_order_does_not_matter():
    video, reference = make_pair()
    assert flip(reference, reference).max() == 0
    torch.testing.assert_close(flip(video, reference), flip(reference, video))


def test_turned_frames_give_the_turned_map_and_frames_do_not_see_each_other():
    video, reference = make_pair()
    torch.testing.assert_close(flip(video.mT, reference.mT), flip(video, reference).mT)
    two = flip(torch.cat([reference, video]), torch.cat([reference, reference]))
    assert two[0].max() == 0
    torch.testing.assert_close(two[1:], flip(video, reference))


def test_uint8_is_cast_first():
    video, reference = ((x * 255).round().to(torch.uint8) for x in make_pair())
    torch.testing.assert_close(flip(video, reference), flip(video.double() / 255, reference.double() / 255))


@pytest.mark.parametrize(("channels", "pixels_per_degree"), [(1, 67.0), (3, 0.0), (3, float("nan"))])
def test_what_flip_cannot_see_is_refused(channels: int, pixels_per_degree: float):
    video = torch.rand(1, channels, 8, 8)
    with pytest.raises(ShapeError, match=r"needs RGB .* pixels_per_degree > 0"):
        flip(video, video, pixels_per_degree)


def test_heat_map_runs_from_black_to_pale_yellow():
    values = torch.tensor([[[-1.0, 0.0, 1 / 16, 0.5, 1.0, 2.0]]])
    colours = heat_map(values)[0, :, 0].T
    assert colours.shape == (6, 3)
    torch.testing.assert_close(colours[0], colours[1])
    torch.testing.assert_close(colours[1], torch.tensor([0.001, 0.0, 0.014]))
    torch.testing.assert_close(
        colours[2], torch.tensor([0.057, 0.0325, 0.1455])
    )  # half way to the second stop
    torch.testing.assert_close(colours[3], torch.tensor([0.716, 0.215, 0.475]))
    torch.testing.assert_close(colours[4], torch.tensor([0.987, 0.991, 0.750]))
    torch.testing.assert_close(colours[4], colours[5])
    assert (heat_map(torch.linspace(0, 1, 20).view(1, 1, -1)).mean(1).diff() > 0).all()
    with pytest.raises(ShapeError, match=r"\[frames, height, width\]"):
        heat_map(torch.rand(4, 4))
