"""Random sequences of forwards against what their loops know of them."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from loops import Begins, Model
from programs import Expected, play, programs

from videosieve.integrations.diffusers.clock import Clock


class Watcher(Begins):
    """Notes generations whose memory is dropped while they run."""

    def __init__(self, expected):
        super().__init__()
        self.expected, self.dropped = expected, []

    def begin(self, keep=()):
        super().begin(keep)
        running = {self.expected.generations[request] for request in self.expected.running}
        self.dropped += running - set(keep)


def check(program):
    expected = Expected()
    watcher = Watcher(expected)
    model = Model(Clock(watcher, None, None))
    with torch.no_grad():
        play(program, model, expected)
    said = [(x.step, x.steps, x.branch, x.pass_number) for x in model.said]
    wanted = [None if name is None else name[1:] for name in expected.names]
    real = [place for place, name in enumerate(wanted) if name is not None]
    assert [said[place] for place in real] == [wanted[place] for place in real]
    generations = [(expected.names[place][0], model.said[place].generation) for place in real]
    assert len(set(generations)) == len({a for a, _ in generations}) == len({b for _, b in generations})
    strangers = {
        (x.generation, *name)
        for x, name, is_real in zip(model.said, said, wanted, strict=True)
        if not is_real
    }
    assert not strangers & {(model.said[place].generation, *said[place]) for place in real}
    assert not watcher.dropped


# The same 200 every time, so that a landing depends on what it changes; the slow run draws anew.
QUICK = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@QUICK
@given(programs())
def test_every_forward_of_a_random_program_is_named_as_its_loop_knows_it(program):
    check(program)


@pytest.mark.slow
@settings(QUICK, max_examples=10_000, derandomize=False)
@given(programs())
def test_every_forward_of_ten_thousand_random_programs_is_named_as_its_loop_knows_it(program):
    check(program)
