"""The benchmark of prefills on a tiny model: tasks are made by their seed, every column is there, dense is dense."""

import json

import pytest
import torch

from benchmarks import decode_step, prefill
from benchmarks.prefill_fit import prompt
from benchmarks.prefill_rows import ROWS
from benchmarks.prefill_tasks import TASKS, make_sample
from videosieve.prefill.models import LanguageModel
from videosieve.testing.language import tiny_language_model


class Letters:
    """A tokenizer with a token per letter."""

    def __call__(self, text, **_options):
        return {"input_ids": [4 + ord(letter) % 180 for letter in text]}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_its_seed_and_as_long_as_asked(task):
    one, two = (make_sample(task, Letters(), 2500, 3) for _ in range(2))
    assert torch.equal(one.tokens, two.tokens)
    assert one.tokens.shape == (1, 2500)
    assert 0 < one.scored < 2500
    assert not torch.equal(one.tokens, make_sample(task, Letters(), 2500, 4).tokens)


def test_keys_lie_at_five_depths():
    places = []
    for number in range(5):
        sample = make_sample("passkey", Letters(), 2500, number)
        answer = sample.tokens[0, -sample.scored :]
        windows = sample.tokens[0].unfold(0, len(answer), 1)
        places.append(int((windows == answer).all(-1).nonzero()[0]) / 2500)
    assert places == sorted(places)
    assert places[-1] - places[0] > 0.6


def test_the_table_has_dense_first_and_every_column(monkeypatch, tmp_path, capsys):
    model = LanguageModel("tiny", tiny_language_model(), Letters())
    monkeypatch.setattr(prefill, "load_language_model", lambda *_: model)
    monkeypatch.setattr(prefill, "refuse_wheel", lambda: "")
    out = tmp_path / "deep" / "prefill.json"
    words = [
        "--lengths",
        "600",
        "--tasks",
        "passkey,nll",
        "--samples",
        "2",
        "--min-tokens",
        "64",
        "--out",
        str(out),
    ]
    prefill.main([*words, "--methods", "xattention S=16 τ=0.9,minference,random_blocks"])
    rows = json.loads(out.read_text("utf-8"))["rows"]
    assert [row["method"] for row in rows[:4]] == [
        "dense",
        "xattention S=16 τ=0.9",
        "minference",
        "random_blocks",
    ]
    assert len(rows) == 8
    assert rows[0]["density"] == 1
    assert rows[0]["nll_difference"] == 0
    measured = [row for row in rows if row["recall"] is not None]
    # a recall is a mean of sums in fp32: one that is whole may come out some units in the last place above
    assert all(row["density"] <= 1 and row["recall"] <= 1 + 1e-6 for row in measured)
    assert len(capsys.readouterr().out.splitlines()) == 9
    with pytest.raises(SystemExit):
        prefill.main(["--methods", "none"])


def test_thresholds_by_head_are_fitted_to_other_pages_and_keep_what_is_asked(monkeypatch, capsys):
    model = LanguageModel("tiny", tiny_language_model(), Letters())
    monkeypatch.setattr(prefill, "load_language_model", lambda *_: model)
    monkeypatch.setattr(prefill, "refuse_wheel", lambda: "")
    words = ["--lengths", "600", "--tasks", "nll", "--samples", "1", "--min-tokens", "64"]
    prefill.main([*words, "--methods", "by head S=16 R=0.93,by head S=16 R=0.97"])
    lines = capsys.readouterr().out.splitlines()
    fitted = [line for line in lines if line.startswith("# by head")]
    recalls, densities = zip(
        *((float(line.split()[6]), float(line.split()[9])) for line in fitted), strict=True
    )
    assert recalls[0] >= 0.9295
    assert recalls[1] >= 0.9695
    assert densities[0] < densities[1] < 1
    shown = prompt(model, 600, 0)
    assert not torch.equal(shown, prompt(model, 600, 1))
    assert not torch.equal(shown, make_sample("nll", Letters(), 600, 0).tokens)


def test_a_decoding_step_is_timed_dense_and_sparsified(monkeypatch, capsys):
    model = LanguageModel("tiny", tiny_language_model(), Letters())
    monkeypatch.setattr(decode_step, "load_language_model", lambda *_: model)
    monkeypatch.setattr(decode_step, "refuse_wheel", lambda: "")
    seen = []
    decode = decode_step.decode

    def watched(one, cache, *arguments):
        seen.append((one.config._attn_implementation, cache.get_seq_length()))
        return decode(one, cache, *arguments)

    monkeypatch.setattr(decode_step, "decode", watched)
    decode_step.main(["--lengths", "300", "--pairs", "2", "--spell", "3"])
    assert [name == "videosieve" for name, _ in seen] == [True, False, False, True, True, False]
    assert {length for _, length in seen} == {300}
    line = capsys.readouterr().out.splitlines()[-1].split()
    assert line[0] == "300"
    assert float(line[4]) <= float(line[3]) <= float(line[5])


@pytest.mark.parametrize("module", [prefill, decode_step])
def test_without_the_wheel_it_says_so_and_ends(monkeypatch, capsys, module):
    monkeypatch.setattr(module, "refuse_wheel", lambda: "it is not installed")
    module.main([])
    assert capsys.readouterr().out == "skipped: it is not installed\n"


def test_an_interval_holds_the_mean_and_needs_two_values():
    assert prefill.interval([1.0]) is None
    low, high = prefill.interval([0.0, 1.0, 2.0, 3.0])
    assert 0 <= low < 1.5 < high <= 3
    assert set(ROWS) >= {"dense", "minference", "a_shape"}
