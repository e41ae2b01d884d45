"""Where things lie in the page's figures, against places worked out by hand."""

from itertools import pairwise

import pytest

from videosieve.report.charts import (
    Contender,
    Curve,
    Guide,
    Point,
    Scale,
    Series,
    head_grid,
    line_chart,
    pareto_chart,
    pattern_colour,
    points_chart,
    ticks,
    time_bars,
)
from videosieve.report.charts.axes import counted


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 1, [0, 0.25, 0.5, 0.75, 1]), (30, 40, [30, 32.5, 35, 37.5, 40])]
)
def test_ticks_are_round(low: float, high: float, expected: list[float]):
    assert ticks(low, high) == expected


@pytest.mark.parametrize("values", [[20.0], [17.2, 25.9], [0.0, 0.0], [99.9, 100.0], [1e-3, 4e-3]])
def test_a_scale_holds_its_values_between_round_ends(values: list[float]):
    scale = Scale.around(values, least=0.01)
    assert scale.low < min(values) <= max(values) < scale.high
    assert 3 <= len(scale.ticks()) <= 7
    assert scale.ticks()[0].place == 0


def test_a_scale_does_not_reach_below_its_floor():
    assert Scale.around([0.01, 0.2], 0.1, floor=0.0).low == 0.0


@pytest.mark.parametrize(
    ("count", "labels"),
    [(1, ["0"]), (3, ["0", "1", "2"]), (8, ["0", "2", "4", "7"]), (50, ["0", "10", "20", "30", "40", "49"])],
)  # fmt: skip
def test_counting_starts_at_zero_and_ends_at_the_last(count: int, labels: list[str]):
    assert [tick.label for tick in counted(count, 6)] == labels


def test_a_line_goes_through_the_middles_of_its_cells():
    chart = line_chart([Series("svg", [0.0, 1.0, 0.5, 0.25], "red")], "step", Scale(0.0, 1.0))
    assert chart.lines[0].path == "M12.5 100L37.5 0 62.5 50 87.5 75"
    assert chart.lines[0].words == ["0.00", "1.00", "0.50", "0.25"]
    assert chart.lines[0].summary == "svg: 0.00 to 1.00"


def test_a_line_has_gaps_where_nothing_was_measured():
    chart = line_chart([Series("svg", [None, 0.5, None, 1.0, 0.0], "red")], "step", Scale(0.0, 1.0))
    assert chart.lines[0].path == "M30 50h0M70 0L90 100"  # a lone value is a dot
    assert chart.lines[0].words[0] == "–"


def test_a_line_of_nothing_can_be_drawn():
    assert line_chart([Series("svg", [None], "red")], "step", Scale(0.0, 1.0)).lines[0].path == ""


def test_shaded_cells_become_bands():
    chart = line_chart(
        [Series("svg", [1.0] * 4, "red")], "step", Scale(0.0, 1.0), shaded=[1.0, 1.0, 0.5, 0.0]
    )
    assert [(band.left, band.width, band.strength) for band in chart.bands] == [(0, 50, 1), (50, 25, 0.5)]


def test_bars_share_one_scale_and_leave_out_empty_parts():
    bars = time_bars(
        [("dense", "red", [("attention", "attention", 6.0), ("rest", "rest", 2.0)]),
         ("svg", "red", [("attention", "attention", 0.0), ("rest", "rest", 2.0)])]
    )  # fmt: skip
    assert [part.width for part in bars[0].parts] == [75, 25]
    assert [(part.kind, part.width) for part in bars[1].parts] == [("rest", 25)]
    assert bars[0].total == 8


def test_the_pareto_plot_places_points_bounds_and_the_limit():
    chart = pareto_chart(
        [Contender("a", "red", 2.0, 30.0, bound=3.0), Contender("b", "red", 1.5, 20.0, bound=3.5)], 4.0, None
    )
    first, last = chart.x_ticks[0], chart.x_ticks[-1]
    slope = (last.place - first.place) / (float(last.label) - float(first.label))

    def across(speedup: float) -> object:
        return pytest.approx(first.place + slope * (speedup - float(first.label)), abs=0.05)

    places = {place.of.name: place for place in chart.places}
    assert places["a"].x == across(2)
    assert places["b"].bound_x == across(3.5)
    assert chart.limit == across(4)
    assert chart.unity == across(1)
    assert places["a"].y < places["b"].y  # more is up
    assert (places["a"].beaten, places["b"].beaten) == (False, True)


def test_close_speedups_do_not_share_the_plot_with_an_empty_half():
    chart = pareto_chart([Contender(str(s), "red", s, 30.0) for s in (1.1, 1.2, 1.3)], None, None)
    assert max(place.x for place in chart.places) - min(place.x for place in chart.places) >= 40


def test_equal_points_do_not_beat_each_other_and_their_labels_keep_apart():
    chart = pareto_chart([Contender(name, "red", 2.0, 30.0) for name in "abc"], None, None)
    assert not any(place.beaten for place in chart.places)
    labels = sorted((place.label_left, place.label_y) for place in chart.places)
    assert all(one[0] != other[0] or other[1] - one[1] >= 6 for one, other in pairwise(labels))


def test_a_limit_far_beyond_every_point_is_not_drawn():
    chart = pareto_chart([Contender("a", "red", 1.2, 30.0)], 40.0, None)
    assert chart.limit is None
    assert float(chart.x_ticks[-1].label) < 4


@pytest.mark.parametrize(("floor", "above"), [(33.0, False), (100.0, True)])
def test_a_noise_floor_far_above_the_points_does_not_squeeze_them(floor: float, above: bool):
    chart = pareto_chart([Contender("a", "red", 2.0, 30.0), Contender("b", "red", 1.0, 25.0)], None, floor)
    assert chart.floor_above is above
    assert chart.floor is not None
    assert 0 <= chart.floor <= min(place.y for place in chart.places)
    assert max(place.y for place in chart.places) >= 40


def test_spatial_and_temporal_keep_their_colours():
    assert pattern_colour(["temporal"], 0) == pattern_colour(["spatial", "temporal"], 1)
    assert len({pattern_colour(["a", "spatial", "temporal"], i) for i in range(3)}) == 3


def test_the_head_grid_of_a_large_model_fits_a_phone():
    grid = head_grid([[{"spatial": 1.0}] * 40] * 60, ["spatial", "temporal"])
    assert grid.width <= 328  # 360 less the margins
    assert len(grid.cells) == 2400
    places = [tick.place for tick in grid.heads]
    assert min(after - before for before, after in pairwise(places)) >= 18


def test_a_label_does_not_stand_on_the_line_to_its_bound():
    dense = Contender("dense", "c", 1.0, 40.0, None, None, None)
    right = Contender("svg", "c", 1.2, 30.0, 1.25, None, None)
    left = Contender("pab", "c", 1.4, 35.0, 1.3, None, None)
    places = {place.of.name: place for place in pareto_chart([dense, right, left], 1.6, None).places}
    assert not places["dense"].label_left  # nothing is in the way
    beside = places["svg"]
    assert beside.label_left or abs(beside.label_y - beside.y) >= 4
    assert not places["pab"].label_left


@pytest.mark.parametrize(
    ("across", "lines"),
    [  # head atlases of the bundled model, at 20 steps and at 4, the latter beside one of random weights
        ((0.1, 0.21, 0.31, 0.5), {
            "best blocks": (0.486, 0.695, 0.796, 0.899), "SVG": (0.307, 0.513, 0.682, 0.813),
            "best fixed band": (0.344, 0.539, 0.713, 0.832),
        }),
        ((0.0963, 0.2093, 0.3147, 0.503), {
            "best blocks": (0.491, 0.701, 0.802, 0.904), "SVG": (0.322, 0.524, 0.705, 0.829),
            "best fixed band": (0.347, 0.530, 0.717, 0.835), "": (0.097, 0.210, 0.315, 0.504),
        }),
    ],
)  # fmt: skip
def test_names_stand_beside_their_own_curve_whatever_thin_line_passes(
    across: tuple[float, ...], lines: dict[str, tuple[float, ...]]
):
    curves = [Curve(list(zip(across, values, strict=True)), "red") for values in lines.values()]
    points = [
        Point(x, y, "red", name if x == across[-1] else "")
        for name, curve in zip(lines, curves, strict=True)
        for x, y in curve.points
    ]
    diagonal = Curve([(0.0, 0.0), (1.0, 1.0)], "grey", "3 6")
    chart = points_chart(points, Scale(0.0, 1.0), Scale(0.0, 1.0), "density", curves=[*curves, diagonal])
    named = [spot for spot in chart.spots if spot.of.label]
    assert [spot.label_left for spot in named] == [False] * 3
    assert max(abs(spot.label_y - spot.y) for spot in named) <= 6
    heights = sorted(spot.label_y for spot in named)
    assert min(after - before for before, after in pairwise(heights)) >= 5.9


def test_a_line_to_a_bound_that_is_not_drawn_keeps_no_label_away():
    beaten, best = (
        Contender("svg", "c", 1.43, 0.5, 1.24, None, None),
        Contender("other", "c", 1.46, 0.5, 1.24, None, None),
    )
    places = pareto_chart([beaten, best], None, None, Scale(0.0, 1.0)).places
    assert (places[0].label_left, places[0].label_y) == (True, places[0].y)


def test_the_name_of_a_level_line_keeps_off_points_and_their_names_off_it():
    points = [Point(0.1, 0.42, "red"), Point(0.3, 0.43, "red"), Point(0.8, 0.8, "red", "check")]
    guides = [Guide(0.4, "target 25 dB"), Guide(0.5, "dense 1×", upright=True)]
    chart = points_chart(points, Scale(0.0, 1.0), Scale(0.0, 1.0), "x", guides=guides)
    level, upright = chart.guides
    assert (level.place, level.low or level.ended) == (60, True)
    assert (upright.place, upright.low, upright.ended) == (50, False, False)
    near = points_chart(
        [Point(0.45, 0.45, "red", "chosen")], Scale(0.0, 1.0), Scale(0.0, 1.0), "x",
        guides=[Guide(0.42, "target of 25 dB, a long one")],
    )  # fmt: skip
    spot, guide = near.spots[0], near.guides[0]
    middle = guide.place + (3.5 if guide.low else -3.5)
    assert guide.ended or spot.label_left or abs(spot.label_y - middle) >= 6.9


def test_the_name_of_a_floor_at_the_upper_edge_stays_inside_the_plot():
    best = Contender("sieve", "c", 1.01, 39.0, 1.3, None, None)
    worst = Contender("svg", "c", 1.2, 21.0, None, None, None)
    chart = pareto_chart([best, worst], 1.47, 100.0)
    assert (chart.floor, chart.floor_above, chart.floor_low) == (0, True, True)
