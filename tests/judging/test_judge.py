"""The judge agrees with the renderer, and disagrees where the video is wrong."""

import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.judging.judge import judge_video, read_motion, summarise
from videosieve.shapes.world.factors import BACKGROUNDS, Factors, ObjectFactors, sample_factors
from videosieve.shapes.world.render import render

SEEDS = torch.arange(150) + 7 * 10**6
CLIPS = render(sample_factors(SEEDS), SEEDS)
VIDEOS = (CLIPS.video.transpose(1, 2) + 1) / 2


def test_ground_truth_is_judged_right_in_98_percent_per_factor_and_background():
    verdicts = [judge_video(VIDEOS[i], CLIPS.factors.named(i)) for i in range(len(SEEDS))]
    scores = summarise(verdicts)
    for factor in ("colour", "motion", "shape", "size"):
        assert scores[factor] >= 0.98, scores
    assert scores["mask_iou"] > 0.93
    assert scores["all"] > 0.95
    assert scores["videos"] == 150


def test_every_background_and_both_counts_are_judged_right():
    seeds = torch.arange(350) + 8 * 10**6
    clips = render(sample_factors(seeds), seeds)
    videos = (clips.video.transpose(1, 2) + 1) / 2
    verdicts = [judge_video(videos[i], clips.factors.named(i)) for i in range(len(seeds))]
    groups = {name: clips.factors.background == i for i, name in enumerate(BACKGROUNDS)}
    groups |= {f"{count} objects": clips.factors.count == count for count in (1, 2)}
    for name, members in groups.items():
        scores = summarise([verdicts[i] for i in members.nonzero()[:, 0].tolist()])
        assert min(scores[factor] for factor in ("colour", "motion", "shape", "size")) >= 0.98, (name, scores)


def _single(motion: str = "left") -> tuple[torch.Tensor, ObjectFactors]:
    for i in range(len(SEEDS)):
        factors = CLIPS.factors.named(i)
        if len(factors.objects) == 1 and factors.objects[0].motion == motion:
            return VIDEOS[i], factors.objects[0]
    raise AssertionError(motion)


def test_a_reversed_video_has_the_wrong_motion_and_the_right_colour():
    video, thing = _single("left")
    verdict = judge_video(video.flip(0), Factors((thing,), None))
    assert verdict.correct["motion"] == 0
    assert verdict.correct["colour"] == 1
    assert verdict.seen[0] is not None
    assert verdict.seen[0].motion == "right"
    assert not verdict.all_correct


def test_a_reversed_orbit_is_not_clockwise():
    video, thing = _single("clockwise")
    assert judge_video(video, Factors((thing,), None)).correct["motion"] == 1
    assert judge_video(video.flip(0), Factors((thing,), None)).correct["motion"] == 0


def test_swapped_channels_have_the_wrong_colour():
    video, thing = next(
        (VIDEOS[i], CLIPS.factors.named(i).objects[0])
        for i in range(len(SEEDS))
        if len(CLIPS.factors.named(i).objects) == 1 and CLIPS.factors.named(i).objects[0].colour == "red"
    )
    verdict = judge_video(video[:, [2, 1, 0]], Factors((thing,), None))
    assert verdict.correct["colour"] == 0
    assert verdict.correct["motion"] == 1


def test_an_empty_video_has_nothing_right():
    asked = Factors((ObjectFactors("star", "red", "small", "left"),), "plain")
    verdict = judge_video(torch.full((16, 3, 32, 32), 0.2), asked)
    assert set(verdict.correct.values()) == {0.0}
    assert verdict.seen == (None,)
    assert verdict.mask_iou == 0


def test_one_object_where_two_were_asked_is_half_right():
    video, thing = _single("up")
    other = ObjectFactors("star", "white" if thing.colour != "white" else "red", "small", "down")
    verdict = judge_video(video, Factors((thing, other), None))
    assert verdict.correct["colour"] == 0.5
    assert not verdict.all_correct


def test_bindings_swapped_between_two_objects_are_noticed():
    for i in range(len(SEEDS)):
        asked = CLIPS.factors.named(i)
        if len(asked.objects) == 2 and asked.objects[0].motion != asked.objects[1].motion:
            first, second = asked.objects
            swapped = (
                ObjectFactors(first.shape, first.colour, first.size, second.motion),
                ObjectFactors(second.shape, second.colour, second.size, first.motion),
            )
            assert not judge_video(VIDEOS[i], Factors(swapped, None)).all_correct
            return
    raise AssertionError("no such clip")


def test_what_was_not_asked_is_not_judged():
    video, thing = _single()
    verdict = judge_video(video, Factors((ObjectFactors(None, thing.colour, None, None),), None))
    assert verdict.correct == {"colour": 1.0}


def test_a_track_seen_in_two_frames_has_no_motion():
    shown = torch.tensor([True, True] + [False] * 6)
    assert read_motion(torch.rand(8, 2), shown) == "none"


def test_judge_refuses_a_batch():
    with pytest.raises(ShapeError, match=r"\[frames, 3, height, width\]"):
        judge_video(VIDEOS[:2], CLIPS.factors.named(0))
