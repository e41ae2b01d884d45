"""Prefills compared: the dense limit, agreement, results that are read back, the page, the verb, and a real model."""

import json

import pytest
import torch
from typer.testing import CliRunner

from videosieve.cli import app
from videosieve.errors import ModelError, OutputError, PromptError, RecipeError
from videosieve.prefill.compare import Order, agreement, compare_prefills, prompt_tokens, recipes_of
from videosieve.prefill.measure import read_prompt
from videosieve.prefill.models import LanguageModel, load_language_model, refuse_wheel
from videosieve.prefill.page import write_page
from videosieve.prefill.results import PrefillResults, PrefillRow
from videosieve.testing.language import prompt_tokens as random_tokens
from videosieve.testing.language import tiny_language_model, tiny_tokenizer

SMALL = {"min_tokens": 16, "block": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("language")
    tiny_language_model().save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def found(folder):
    return load_language_model(str(folder), "cpu")


def test_keeping_everything_scores_and_goes_on_as_the_untouched_model_does(found):
    recipes = recipes_of("xattention,random_blocks,dense", SMALL | {"density": 1.0} if False else SMALL)
    assert [name for name, _ in recipes] == ["dense", "xattention", "random_blocks"]
    exact = recipes_of("xattention", SMALL | {"threshold": 1.0})
    seen = []

    def begin(name):
        seen.append(name)
        return lambda done, layers: seen.append((done, layers))

    rows = compare_prefills(
        found, [random_tokens(1, 200)], [*exact, recipes[2]], Order(scored=50, decoded=6), begin
    )
    dense, same, chance = rows
    assert (dense.method, dense.density, dense.recall, dense.nll_difference) == ("dense", 1.0, None, None)
    assert same.nll == pytest.approx(dense.nll, abs=1e-5)
    assert (same.agreement, same.density) == (1.0, pytest.approx(1.0))
    assert same.recall == pytest.approx(1.0, abs=1e-5)
    assert chance.density < 0.6
    assert chance.lowest_recall <= chance.recall < 1
    assert chance.nll_difference == pytest.approx(chance.nll - dense.nll)
    assert all(row.attention_seconds > 0 and row.seconds > 0 and row.tokens == 200 for row in rows)
    assert seen[:4] == ["prompt 0: dense, noted", (1, 3), (2, 3), (3, 3)]
    assert found.model.config._attn_implementation == "sdpa"
    assert not any(module._forward_hooks for module in found.model.modules())


def test_a_likelihood_is_that_of_the_last_tokens(found):
    tokens = random_tokens(1, 60)
    reading = read_prompt(found, tokens, None, scored=10, decoded=3)
    with torch.no_grad():
        logits = found.model(tokens).logits[0]
    expected = -logits.log_softmax(-1)[49:59].gather(-1, tokens[0, 50:, None]).flatten()
    torch.testing.assert_close(reading.nll, expected)
    assert torch.equal(reading.hits, logits[49:59].argmax(-1) == tokens[0, 50:])
    generated = found.model.generate(tokens, max_new_tokens=3, do_sample=False, eos_token_id=-1)
    assert reading.continuation == tuple(generated[0, 60:].tolist())


def test_short_prompts_stay_dense_and_the_row_says_so(found):
    rows = compare_prefills(found, [random_tokens(1, 40)], recipes_of("xattention"), Order(decoded=0))
    assert rows[1].dense_reasons == {"fewer than 1024 queries": 3}
    assert rows[1].agreement is None
    assert rows[1].nll_difference == pytest.approx(0, abs=1e-6)


def test_agreement_ends_with_the_first_difference():
    assert agreement((1, 2, 3, 4), (1, 2, 0, 4)) == 0.5
    assert agreement((1,), (1,)) == 1
    assert agreement((), ()) is None


def test_prompts_and_methods_that_cannot_be_are_refused(found, tmp_path):
    with pytest.raises(PromptError, match="at least 2 tokens, got 1"):
        prompt_tokens(found, "w1")
    long = LanguageModel("tiny", tiny_language_model(max_position_embeddings=8), found.tokenizer)
    with pytest.raises(PromptError, match="made for at most 8; cut it with --tokens"):
        prompt_tokens(long, "w1 " * 9)
    assert prompt_tokens(long, "w1 " * 9, 5).shape == (1, 5)
    with pytest.raises(RecipeError, match="no causal form"):
        recipes_of("dense,svg")
    with pytest.raises(RecipeError, match="repeats"):
        Order(repeats=0)
    with pytest.raises(ModelError, match="no language model that transformers can load"):
        load_language_model(str(tmp_path), "cpu")
    for name in "ab":
        (tmp_path / f"{name}.gguf").touch()
    with pytest.raises(ModelError, match="holds 2 GGUF files"):
        load_language_model(str(tmp_path), "cpu")


def test_results_are_read_back_and_drawn(tmp_path):
    row = PrefillRow("dense", 0, 100, 2.0, 1.0, 1.0, None, None, 3.0, None, None, "it <goes> on")
    sparse = PrefillRow("xattention", 0, 100, 1.0, 0.25, 0.3, 0.9, 0.7, 3.1, 0.1, 0.5, "and on", {"short": 1})
    results = PrefillResults("tiny", ["Once <b>upon"], [row, sparse], {"processor": "one"}, {"torch": "2"})
    results.save(tmp_path)
    assert PrefillResults.load(tmp_path) == results
    page = write_page(results, tmp_path).read_text("utf-8")
    assert "Once &lt;b&gt;upon" in page
    assert "it &lt;goes&gt; on" in page
    assert "<td>2.00</td>" in page  # the speed-up
    assert "http" not in page.replace("http-equiv", "")
    for broken in ({"schema": 2}, {"schema": 1, "rows": [1]}, {"schema": 1, "rows": [{"method": "a"}]}):
        (tmp_path / "prefill.json").write_text(json.dumps(broken))
        with pytest.raises(OutputError):
            PrefillResults.load(tmp_path)


def test_the_verb_writes_a_table_and_a_page_and_refuses_in_one_line(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"COLUMNS": "140", "NO_COLOR": "1"})
    (tmp_path / "prompt.txt").write_text(" ".join(f"w{i % 170}" for i in range(0, 2000, 7)))
    words = [
        "prefill",
        "--model",
        str(folder),
        "--prompt-file",
        "prompt.txt",
        "--device",
        "cpu",
        "--decoded",
        "4",
    ]
    done = runner.invoke(
        app,
        [
            *words,
            "--methods",
            "xattention,minference",
            "--set",
            "min_tokens=32",
            "-o",
            "out",
            "--table",
            "prefill.md",
        ],
    )
    assert done.exit_code == 0, done.output
    assert "minference" in done.stdout
    assert "1.00×" in done.stdout
    assert (tmp_path / "out" / "prefill.html").is_file()
    rows = PrefillResults.load(tmp_path / "out").rows
    assert [row.method for row in rows] == ["dense", "xattention", "minference"]
    names, _, *lines = (tmp_path / "prefill.md").read_text("utf-8").splitlines()
    assert names.startswith("| method | prompt | tokens | prefill, s | speed-up, × |")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [(row[0], row[1]) for row in cells] == [(row.method, "0") for row in rows]
    assert "<footer>" in (tmp_path / "out" / "prefill.html").read_text("utf-8")
    for bad, said in (
        (["--methods", "svg"], "no causal form"),
        (["--tokens", "0"], "tokens"),
        (["--repeats", "0"], "repeats"),
        (["--table", "prefill.xlsx"], "must end in .csv, .md, .tex"),
        (["--set", "density=2"], "density"),
    ):
        refused = runner.invoke(app, [*words, *bad])
        assert refused.exit_code == 2
        assert said in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.skipif(bool(refuse_wheel()), reason=refuse_wheel() or "-")
def test_the_model_of_the_wheel_finds_a_pass_key_and_stays_itself_when_everything_is_kept(capsys):
    found = load_language_model("smollm2", "cpu")
    assert capsys.readouterr().err == "", "transformers draws a bar over the tensors of a GGUF file"
    text = "The grass is green. The sky is blue. " * 30
    tokens = prompt_tokens(
        found, f"{text}The pass key is 71432. {text}What is the pass key? The pass key is 71432"
    )
    (dense, same) = (
        read_prompt(found, tokens, recipe, scored=5, decoded=0)
        for recipe in (None, recipes_of("xattention", {"threshold": 1.0, "min_tokens": 64})[1][1])
    )
    assert dense.hits.all()
    assert same.hits.all()
    torch.testing.assert_close(
        same.nll, dense.nll, rtol=0, atol=1e-3
    )  # 30 layers of fp32 roundings in exact NLLs
