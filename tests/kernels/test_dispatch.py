import pytest

from videosieve.errors import BackendError, VideosieveError
from videosieve.kernels.dispatch import Implementation, anything, choose


def refuse_odd(number):
    return f"it needs an even number, got {number}" if number % 2 else None


def refuse_large(number):
    return f"it needs a number below 10, got {number}" if number >= 10 else None


FAST = Implementation("fast", refuse_odd, lambda number: ("fast", number))
MIDDLE = Implementation("middle", refuse_large, lambda number: ("middle", number))
SLOW = Implementation("slow", anything, lambda number: ("slow", number))


@pytest.mark.parametrize(("number", "name"), [(2, "fast"), (12, "fast"), (3, "middle"), (13, "slow")])
def test_the_first_that_does_not_refuse_runs(number, name):
    assert choose("count", (FAST, MIDDLE, SLOW), None, number).run(number) == (name, number)


def test_the_backend_asked_for_runs_even_if_a_faster_one_could():
    assert choose("count", (FAST, MIDDLE, SLOW), "slow", 2) is SLOW


def test_an_unknown_backend_lists_those_there_are():
    with pytest.raises(BackendError, match="^count has no backend 'quick'; there are fast, middle, slow$"):
        choose("count", (FAST, MIDDLE, SLOW), "quick", 2)


def test_a_refusal_says_why_and_who_could():
    message = "^fast cannot run this count: it needs an even number, got 3. Backends that can: middle, slow$"
    with pytest.raises(BackendError, match=message):
        choose("count", (FAST, MIDDLE, SLOW), "fast", 3)


def test_a_refusal_says_when_nobody_can():
    with pytest.raises(BackendError, match="Backends that can: none$"):
        choose("count", (FAST, MIDDLE), "fast", 13)


def test_when_all_refuse_every_reason_is_given():
    message = "^no backend can run this count: fast: it needs an even number, got 13; middle: it needs a number below"
    with pytest.raises(BackendError, match=message):
        choose("count", (FAST, MIDDLE), None, 13)


def test_a_backend_error_is_a_value_error():
    assert issubclass(BackendError, VideosieveError)
    assert issubclass(BackendError, ValueError)
