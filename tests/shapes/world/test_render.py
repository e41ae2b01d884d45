"""The renderer: a pure function of the seed, with masks that say where the pixels are."""

import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.shapes.world.factors import (
    COLOURS,
    MOTIONS,
    PALETTE,
    SHAPES,
    SIZES,
    FactorBatch,
    is_held_out,
    sample_factors,
)
from videosieve.shapes.world.render import frame_times, plan_paths, render
from videosieve.shapes.world.sdf import signed_distance
from videosieve.shapes.world.seeds import Stream, uniforms

SEEDS = torch.arange(24) + 2**33


def _one(shape: str, motion: str, count: int = 1) -> FactorBatch:
    ids = [torch.tensor([[index, 0]]) for index in (SHAPES.index(shape), 0, 1, MOTIONS.index(motion))]
    return FactorBatch(*ids, torch.tensor([0]), torch.tensor([count]))


def test_a_batch_equals_its_samples_drawn_alone():
    batch = render(sample_factors(SEEDS), SEEDS)
    for row in (0, 7, 23):
        seed = SEEDS[row : row + 1]
        alone = render(sample_factors(seed), seed)
        assert torch.equal(alone.video[0], batch.video[row])
        assert torch.equal(alone.masks[0], batch.masks[row])


def test_some_frames_rendered_alone_are_frames_of_the_whole_clip():
    frames = torch.tensor([3, 8, 13])
    factors = sample_factors(SEEDS)
    some = render(factors, SEEDS, frames / 15)
    torch.testing.assert_close(some.video, render(factors, SEEDS).video[:, :, frames], atol=1e-5, rtol=0)


def test_draws_are_uniform_and_differ_between_seeds_and_streams():
    draws = uniforms(torch.arange(4000), 3, Stream.FACTORS)
    assert draws.min() >= 0
    assert draws.max() < 1
    torch.testing.assert_close(draws.mean(0), torch.full((3,), 0.5), atol=0.02, rtol=0)
    assert torch.corrcoef(draws.T).fill_diagonal_(0).abs().max() < 0.06
    assert len(draws[:, 0].unique()) > 3990
    assert not torch.equal(draws, uniforms(torch.arange(4000), 3, Stream.CAPTION))
    high = uniforms(torch.tensor([5, 5 + 2**33]), 1, Stream.FACTORS)
    assert high[0] != high[1]


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (24, 40)])
def test_pixels_under_a_full_mask_have_the_colour_of_the_object(size: tuple[int, int]):
    clip = render(sample_factors(SEEDS), SEEDS, frame_times(5), *size)
    assert clip.video.shape == (24, 3, 5, *size)
    assert clip.video.abs().max() <= 1
    pixels = (clip.video.movedim(1, -1) + 1) / 2
    for row in range(24):
        for thing in range(int(clip.factors.count[row])):
            inside = clip.masks[row, thing] > 0.999
            colour = torch.tensor(PALETTE[int(clip.factors.colour[row, thing])])
            assert inside.sum() > 0
            torch.testing.assert_close(
                pixels[row][inside], colour.expand(int(inside.sum()), 3), atol=2e-3, rtol=0
            )
        outside = clip.masks[row].sum(0) == 0
        assert pixels[row][outside].max() < 0.45  # backgrounds stay dim


def test_a_clip_with_one_object_has_an_empty_second_mask():
    clip = render(sample_factors(SEEDS, two_objects=0.0), SEEDS)
    assert clip.masks[:, 1].abs().max() == 0
    assert clip.masks[:, 0].sum((1, 2, 3)).min() > 0


def test_masks_never_claim_more_than_the_pixel():
    clip = render(sample_factors(SEEDS, two_objects=1.0), SEEDS)
    assert clip.masks.sum(1).max() <= 1 + 1e-6
    assert clip.masks.min() >= 0


@pytest.mark.parametrize(
    ("motion", "direction"), [("left", (-1, 0)), ("right", (1, 0)), ("up", (0, -1)), ("down", (0, 1))]
)
def test_objects_travel_a_third_of_the_frame_in_the_asked_direction(motion: str, direction: tuple[int, int]):
    seeds = torch.tensor([11])
    clip = render(_one("circle", motion), seeds)
    travelled = clip.centres[0, 0, -1] - clip.centres[0, 0, 0]
    assert float(travelled @ torch.tensor(direction, dtype=torch.float32)) > 0.33
    assert float(travelled @ torch.tensor(direction[::-1], dtype=torch.float32).abs()) == pytest.approx(
        0, abs=1e-6
    )


def test_clockwise_turns_clockwise_on_a_screen_whose_y_points_down():
    track = render(_one("star", "clockwise"), torch.tensor([3])).centres[0, 0]
    arm = track - (track.amax(0) + track.amin(0)) / 2
    turn = arm[:-1, 0] * arm[1:, 1] - arm[:-1, 1] * arm[1:, 0]
    assert (turn > 0).all()


def test_centres_stay_in_the_frame_and_two_objects_keep_apart():
    seeds = torch.arange(400)
    factors = sample_factors(seeds, two_objects=1.0)
    paths = plan_paths(factors, seeds)
    centres = paths.at(frame_times(16).expand(400, 16))
    assert centres.min() > 0.1
    assert centres.max() < 0.9
    gap = (centres[:, 0] - centres[:, 1]).norm(dim=-1).amin(1) / paths.radius.sum(1)
    assert (gap > 0.7).float().mean() > 0.85


def test_large_objects_are_larger_than_small_ones():
    seeds = torch.arange(200)
    factors = sample_factors(seeds, two_objects=0.0)
    radius = plan_paths(factors, seeds).radius[:, 0]
    large = factors.size[:, 0] == SIZES.index("large")
    assert radius[large].min() > radius[~large].max()


def test_every_shape_is_inside_its_circle_and_looks_different():
    line = torch.linspace(-1.3, 1.3, 105)
    y, x = torch.meshgrid(line, line, indexing="ij")
    ids = torch.arange(len(SHAPES))
    inside = signed_distance(ids, x.expand(5, -1, -1), y.expand(5, -1, -1)) < 0
    assert not inside[:, torch.hypot(x, y) > 1.16].any()
    assert inside[:, 52, 52].all()
    for first in range(5):
        for second in range(first):
            both = (inside[first] & inside[second]).sum() / (inside[first] | inside[second]).sum()
            assert both < 0.85, (SHAPES[first], SHAPES[second])


def test_palette_colours_are_far_apart():
    assert torch.pdist(torch.tensor(PALETTE)).min() > 0.4
    assert len(PALETTE) == len(COLOURS)


def test_a_tenth_of_all_combinations_is_held_out_and_never_trained_on():
    combos = torch.cartesian_prod(torch.arange(8), torch.arange(5), torch.arange(6))
    assert int(is_held_out(*combos.T).sum()) == 24
    trained, kept = sample_factors(torch.arange(3000)), sample_factors(torch.arange(500), held_out=True)
    assert not is_held_out(trained.colour, trained.shape, trained.motion).any()
    assert is_held_out(kept.colour[:, 0], kept.shape[:, 0], kept.motion[:, 0]).all()
    assert (trained.colour[:, 0] != trained.colour[:, 1]).all()


def test_every_factor_value_is_drawn():
    factors = sample_factors(torch.arange(3000))
    for ids, names in ((factors.shape, 5), (factors.colour, 8), (factors.size, 2), (factors.motion, 6)):
        share = torch.bincount(ids.flatten(), minlength=names) / ids.numel()
        assert share.min() > 0.5 / names
    assert 0.45 < float((factors.count == 2).float().mean()) < 0.55


def test_render_refuses_mismatched_batches():
    with pytest.raises(ShapeError, match="one row of factors and of times per seed"):
        render(sample_factors(SEEDS), SEEDS[:3])
    with pytest.raises(ShapeError, match="8 x 8 pixels"):
        render(sample_factors(SEEDS), SEEDS, None, 4, 32)


def test_orbits_are_drawn_more_often_and_held_out_combinations_never():
    seeds = torch.arange(4000)
    usual, many = sample_factors(seeds), sample_factors(seeds, orbits=0.5)
    clockwise = MOTIONS.index("clockwise")
    share = lambda batch: float((batch.motion[:, 0] == clockwise).float().mean())  # noqa: E731
    assert abs(share(usual) - 1 / 6) < 0.03
    assert (
        share(many) > 0.45
    )  # half of the clips and a sixth of the rest, less the combinations that are held out
    assert not is_held_out(many.colour, many.shape, many.motion).any()
    assert torch.equal(sample_factors(seeds, orbits=0.0).motion, usual.motion)


def test_orbits_begin_near_the_top_and_run_to_the_right_first():
    seeds = torch.arange(50)
    batch = sample_factors(seeds, orbits=1.0)
    orbits = batch.motion[:, 0] == MOTIONS.index("clockwise")
    paths = plan_paths(batch, seeds)
    first, later = (paths.at(torch.full((50, 1), time))[orbits, 0, 0] for time in (0.0, 0.2))
    middle, radius = paths.middle[orbits, 0], 0.42 * paths.travel[orbits, 0]
    assert ((middle - first)[:, 1] > 0.9 * radius).all()  # y points down
    assert (later[:, 0] > first[:, 0] + 0.5 * radius).all()
    assert orbits.sum() > 30
