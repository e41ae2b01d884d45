"""What a run that stays up for months keeps, and whom it tells."""

import logging

import pytest
import torch

from videosieve import (
    AttentionCall,
    DenseFirst,
    Recipe,
    RecipeError,
    Run,
    Site,
    SpatialOnly,
    Trace,
    VideoLayout,
)
from videosieve.records import Outcome

LAYOUT = VideoLayout.of(4, 4, 8)


def attend(run: Run, generation: int, steps: int = 2, of: int = 2) -> None:
    """One generation of two layers, begun as the clock begins one."""
    run.begin()
    for step in range(steps):
        for layer in range(2):
            q, k, v = torch.randn(3, 1, 2, 128, 8)
            run.attend(AttentionCall(q, k, v, LAYOUT, Site(layer, 2, step, of, generation=generation)))


def make_run(**options) -> Run:
    return Run(Recipe(SpatialOnly(0.5, block=32), DenseFirst(1, 0), min_tokens=0), **options)


@pytest.mark.parametrize(
    ("keep", "kept"), [("last", [4]), (1, [4]), (2, [3, 4]), (4, [1, 2, 3, 4]), ("all", [0, 1, 2, 3, 4])]
)
def test_the_newest_generations_keep_their_records_and_all_are_counted(keep, kept):
    run, whole = make_run(), make_run()
    run.trace.keep, whole.trace.keep = keep, "all"
    for one in (run, whole):
        for generation in range(5):
            torch.manual_seed(generation)
            attend(one, generation)
    assert list(dict.fromkeys(record.generation for record in run.trace.records)) == kept
    assert len(run.trace) == 4 * len(kept)
    summary, expected = run.summary(), whole.summary()
    assert (summary.calls, summary.sparse_calls, summary.courses) == (20, 10, expected.courses)
    assert summary.dense_reasons == expected.dense_reasons
    assert summary.pattern_shares == expected.pattern_shares
    assert summary.run_density == pytest.approx(expected.run_density)
    assert summary.sparse_density == pytest.approx(expected.sparse_density)
    assert summary.recall == pytest.approx(expected.recall)
    assert summary.dropped_generations == 5 - len(kept)
    assert ("no longer in the trace" in str(summary)) == (len(kept) < 5)


def test_generations_that_run_side_by_side_stay():
    trace = Trace()
    trace.keep = "last"
    for generation in (0, 1, 0, 1):
        trace.add(Site(generation=generation), Outcome("dense", "sdpa", 1, 1.0, "x"), lambda: 0.0)
    assert [len(records) for records in trace.close(running={1})] == [2]
    assert {record.generation for record in trace.records} == {1}
    assert [record.generation for record in trace.unfinished] == [1, 1]
    assert trace.earlier.calls.total() == 2


def test_last_steps_without_a_record_are_no_mismatch_where_they_are_known_to_have_run():
    """A cache may leave out all calls of a step."""
    warnings = []
    for reached in (False, True):
        run = Run(Recipe(SpatialOnly(0.5, block=32), DenseFirst(0.5, 0), min_tokens=0))
        attend(run, 0, steps=2, of=6)
        if reached:
            run.trace.reached[0] = 5
        warnings.append(run.warnings())
    assert "6 steps were announced and 2 ran" in warnings[0][0]
    assert not warnings[1]


def test_a_number_may_come_again_after_its_generation():
    """A run without a clock: every generation is number 0."""
    run = make_run()
    run.trace.keep = "last"
    for _ in range(3):
        attend(run, 0)
    assert len(run.trace) == 4
    assert run.summary().calls == 12


@pytest.mark.parametrize("keep", [0, -1, 1.5, True, "two", None])
def test_what_cannot_be_kept_is_refused(keep):
    trace = Trace()
    with pytest.raises(
        RecipeError, match=r"trace.keep must be 'last', 'all' or a number of generations >= 1, got"
    ):
        trace.keep = keep
    assert trace.keep == 3


def test_a_listener_is_told_of_every_generation_once():
    run, told = make_run(), []
    run.on_generation(lambda number, summary: told.append((number, summary.calls, summary.sparse_calls)))
    for generation in range(3):
        attend(run, generation)
        assert len(told) == generation
    run.reset()
    assert told == [(0, 4, 2), (1, 4, 2), (2, 4, 2)]
    attend(run, 3)
    run.remove()
    run.remove()
    assert told[3:] == [(3, 4, 2)]


def test_a_listener_that_fails_is_logged_and_costs_no_generation(caplog):
    run, told = make_run(), []
    run.on_generation(lambda *_: 1 / 0)
    run.on_generation(lambda number, _: told.append(number))
    for generation in range(2):
        attend(run, generation)
    assert told == [0]
    assert caplog.record_tuples == [("videosieve", logging.ERROR, "a listener of generation 0 failed")]
    assert "ZeroDivisionError" in caplog.text


def test_reset_forgets_everything_but_the_recipe():
    run = make_run()
    run.trace.keep = 2
    for generation in range(4):
        attend(run, generation)
    run.reset()
    assert len(run.trace) == 0
    assert run.summary().calls == 0
    assert run.warnings() == []
    assert run.trace.keep == 2
    attend(run, 0)
    assert run.summary().calls == 4


def test_what_was_wrong_with_generations_that_are_over_is_still_said():
    """Steps were announced that did not run: the share of dense ones is another than the recipe means."""
    run = Run(Recipe(SpatialOnly(0.5, block=32), DenseFirst(0.5, 0), min_tokens=0))
    run.trace.keep = "last"
    for generation in range(12):
        run.begin()
        for step in range(6):
            q, k, v = torch.randn(3, 1, 2, 128, 8)
            run.attend(AttentionCall(q, k, v, LAYOUT, Site(0, 1, step, 10, generation=generation)))
    said = run.warnings()
    assert said[0].startswith("generation 0 was dense in 5 of 6 steps, the recipe means 3")
    assert said[8] == "and 3 more generations like these"
    assert said[9].startswith("generation 11 was dense")


def test_courses_of_many_generations_take_bounded_memory():
    run = make_run()
    run.trace.keep = "last"
    for generation in range(30):
        attend(run, generation, steps=1 + generation % 2)
    earlier = run.trace.earlier.courses
    assert len(earlier.spans) == 4
    assert run.summary().courses[-1] == "and 27 more courses"


def test_calls_are_logged_where_somebody_listens(caplog):
    with caplog.at_level(logging.DEBUG, logger="videosieve"):
        attend(make_run(), 0)
    assert caplog.messages[0].startswith("layer 0, step 0, cond: dense by ")
    assert caplog.messages[0].endswith("(warm-up)")
    assert caplog.messages[2].startswith("layer 0, step 1, cond: sparse by ")


def test_a_run_and_a_recipe_say_what_they_are():
    run = make_run()
    assert (
        repr(run.recipe)
        == "Recipe('spatial_only': spatial_only, density=0.5, block=32, dense_steps=1, dense_layers=0, min_tokens=0)"
    )
    assert repr(run) == f"<Run of {run.recipe!r}: 0 calls in its trace>"
    assert "family='Wan'" in repr(Recipe.of("svg-wan"))
