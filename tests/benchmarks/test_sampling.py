"""The sampler table varies one setting at a time, judges with it, and puts the pipeline's own back."""

import json
from types import SimpleNamespace

import pytest

from benchmarks import sampling
from benchmarks.saliency_clips import render_clip
from benchmarks.sampling import Sampler, vary
from videosieve.judging.evaluate import Evaluation
from videosieve.judging.judge import judge_video

DEFAULT = Sampler(3.0, 20, 5.0)


class Scheduler:
    """Only what a sampler changes."""

    def __init__(self, shift):
        self.config = SimpleNamespace(shift=shift)

    @staticmethod
    def from_config(config, shift):
        assert config.shift == DEFAULT.shift
        return Scheduler(shift)


def test_the_default_comes_first_and_others_differ_in_one_field():
    samplers = vary(DEFAULT, guidance=[1.0, 3.0], steps=[8.0], shift=[])
    assert samplers == [DEFAULT, Sampler(1.0, 20, 5.0), Sampler(3.0, 8.0, 5.0)]


@pytest.fixture
def seen(monkeypatch):
    calls = []

    def evaluate(pipe, captions, seed, steps, guidance):
        calls.append((pipe.scheduler.config.shift, steps, guidance, seed, len(captions)))
        if steps == 13:
            raise KeyboardInterrupt
        clip = render_clip(10**9, 32)
        return Evaluation(captions, clip.video[None], [judge_video(clip.video, clip.factors)])

    pipe = SimpleNamespace(scheduler=Scheduler(5.0))
    monkeypatch.setattr(sampling, "evaluate", evaluate)
    monkeypatch.setattr(sampling, "load_shapes", lambda model: pipe)
    monkeypatch.setattr(sampling, "default_steps", lambda pipe: 20)
    return SimpleNamespace(calls=calls, pipe=pipe)


def test_rows_are_judged_once_and_resume(seen, tmp_path, monkeypatch, capsys):
    output = tmp_path / "rows.json"
    base = ["x", "--prompts", "2", "--output", str(output), "--guidance", "", "--shift", "7"]
    monkeypatch.setattr("sys.argv", [*base, "--steps", "13"])
    with pytest.raises(KeyboardInterrupt):
        sampling.main()
    assert seen.pipe.scheduler.config.shift == 5.0
    assert [row["steps"] for row in json.loads(output.read_text())["rows"]] == [20]
    monkeypatch.setattr("sys.argv", [*base, "--steps", ""])
    sampling.main()
    assert seen.calls == [(5.0, 20, 3.0, 1, 2), (5.0, 13, 3.0, 1, 2), (7.0, 20, 3.0, 1, 2)]
    assert capsys.readouterr().out.count("| 3 | 20 | 7 |") == 2  # when made, and in the table
    monkeypatch.setattr("sys.argv", [*base, "--seed", "2"])
    with pytest.raises(SystemExit, match="another --output"):
        sampling.main()
