"""Stored outputs: what is kept, how long, for whom, and how many bytes that is."""

from dataclasses import replace

import pytest
import torch

from videosieve import Dense, DenseFirst, Method, Recipe, Run, Site, Trace
from videosieve.outputs import Kept, Outputs, storage_bytes
from videosieve.schedule import Broadcast, FirstMatch, Table
from videosieve.testing.factories import make_call


def site(step: int, branch: str = "cond", layer: int = 0, steps: int = 9) -> Site:
    return Site(layer, 2, step, steps, branch)


def walk(outputs: Outputs, steps: int, branches=("cond",), skipped=()) -> dict[str, list[int]]:
    """Run a module that returns its step; what every branch returns, step by step."""
    seen: dict[str, list[int]] = {branch: [] for branch in branches}
    for step in range(steps):
        for branch in branches:
            if step in skipped:
                continue
            kept = outputs.find("module", "attention", site(step, branch, steps=steps))
            if kept is None:
                outputs.keep("module", "attention", site(step, branch, steps=steps), (step, branch))
            seen[branch].append(kept.value if kept else (step, branch))
    return seen


def test_a_module_returns_the_output_of_the_last_computed_step_of_its_own_branch():
    seen = walk(Outputs(Broadcast(3, 0.0, 1.0)), 7, ("cond", "uncond"))
    for branch, values in seen.items():
        assert values == [(step - step % 3, branch) for step in range(7)]


def test_an_output_older_than_the_schedule_means_is_not_returned():
    """A cache outside has skipped step 4: step 5 must not get the output of step 2."""
    seen = walk(Outputs(Broadcast(2, 0.0, 1.0)), 7, skipped=(3, 4))
    assert [step for step, _ in seen["cond"]] == [0, 0, 2, 5, 6]


def test_nothing_is_kept_that_is_not_wanted():
    outputs = Outputs(FirstMatch((DenseFirst(2, 0), Broadcast(2, 0.0, 0.6))))
    held = []
    for step in range(9):
        if outputs.find("module", "attention", site(step)) is None:
            outputs.keep("module", "attention", site(step), torch.zeros(4))
        held.append(outputs.bytes)
    # computed: 0, 1, 2, 4, 6, 7, 8; reused: 3, 5. The output of 4 goes when that of 6 comes.
    assert held == [0, 0, 16, 16, 16, 16, 0, 0, 0]
    assert outputs.peak == 16


def test_branches_share_only_where_the_plan_says_so():
    seen = walk(Outputs(Table(("FF", "wF", "AF", "FF", "AF"))), 5, ("cond", "uncond"))
    assert seen["uncond"] == [(0, "uncond"), (1, "cond"), (1, "cond"), (3, "uncond"), (3, "uncond")]
    assert seen["cond"] == [(0, "cond"), (1, "cond"), (1, "cond"), (3, "cond"), (3, "cond")]


def test_a_shared_output_counts_once():
    outputs = Outputs(Table(("F", "f", "A")))
    for branch in ("cond", "uncond"):
        here = Site(0, 1, 1, 3, branch)
        if outputs.find("module", "attention", here) is None:
            outputs.keep("module", "attention", here, torch.zeros(4))
    assert outputs.bytes == 16
    assert outputs.find("module", "attention", Site(0, 1, 2, 3, "uncond")).site.branch == "cond"


def test_bytes_are_those_of_the_storages_that_are_kept_alive():
    whole = torch.zeros(10, 4)
    assert storage_bytes((whole[:3], whole[3:], None)) == 160
    assert storage_bytes({"a": [whole], "b": torch.zeros(2, dtype=torch.int8)}) == 162
    assert storage_bytes(Kept(whole[0], Site())) == 160


def test_a_generation_begins_with_nothing_and_so_does_a_removed_run():
    for end in (Run.begin, Run.remove):
        run = Run(Recipe(Dense(), Broadcast(2, 0.0, 1.0)))
        run.outputs.keep("module", "attention", site(0), torch.zeros(4))
        assert run.memory().outputs == 16
        end(run)
        assert run.memory().outputs == 0
        assert run.outputs.find("module", "attention", site(1)) is None


def test_a_reused_call_computes_nothing_and_names_its_source(tmp_path):
    run = Run(Recipe(Dense(), Broadcast(2, 0.0, 1.0), min_tokens=0))
    call = make_call()
    run.attend(replace(call, site=site(4, "uncond")))
    run.outputs.keep("module", "attention", site(4, "uncond"), call.q, pairs=run.trace.records[0].pairs)
    run.reuse(site(5, "uncond"), run.outputs.find("module", "attention", site(5, "uncond")))
    record = run.trace.records[1]
    assert (record.action, record.density, record.source) == ("reuse", 0.0, (4, "uncond"))
    summary = run.summary()
    assert (summary.run_density, summary.reused_calls, summary.sparse_density) == (0.5, 1, None)
    assert "1 returned an earlier output" in str(summary)
    run.trace.save(tmp_path / "trace.jsonl")
    assert Trace.load(tmp_path / "trace.jsonl").records == run.trace.records


def test_a_trace_from_before_outputs_were_reused_still_loads(tmp_path):
    run = Run(Recipe(Dense()))
    run.attend(make_call())
    run.trace.save(tmp_path / "trace.jsonl")
    text = (tmp_path / "trace.jsonl").read_text()
    assert '"source": []' in text
    (tmp_path / "old.jsonl").write_text(text.replace(', "source": []', ""))
    assert Trace.load(tmp_path / "old.jsonl").records == run.trace.records


class Learner(Method):
    """Notes the steps that it saw dense, asks for dense itself at step 1."""

    name = "learner"

    def select(self, call, state):
        return None, state

    def observe_dense(self, call, output, state):
        assert output.shape == call.q.shape
        return [*(state or []), call.site.step]


@pytest.mark.parametrize(
    ("rows", "seen"),
    [
        (("F", "F", "W", "A", "W", "F"), [1, 2]),
        (("F", "A", "A", "W", "F", "A"), [0]),
        (("F", "A", "F", "F", "A", "F"), None),
    ],
)
def test_a_method_learns_from_dense_steps_that_a_step_of_its_own_follows(rows, seen):
    run = Run(Recipe(Learner(), Table(rows), min_tokens=0))
    for step, row in enumerate(rows):
        if row != "A":
            run.attend(replace(make_call(), site=Site(0, 1, step, len(rows))))
    assert run.states().get(("", 0, "cond")) == seen
