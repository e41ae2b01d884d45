"""The snippets of the README section "Where it plugs in": each runs, or what it names is what the host finds."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from integrations.hosts.comfyui_stand_in import load_nodes
from integrations.hosts.vllm_omni_stand_in import Host
from typer.testing import CliRunner

import videosieve
from videosieve.cli.app import app
from videosieve.integrations.vllm_omni.register import register
from videosieve.testing.language import prompt_tokens, tiny_language_model
from videosieve.testing.pipelines import tiny_wan, wan_call

ROOT = Path(__file__).parent.parent
SECTION = (ROOT / "README.md").read_text("utf-8").split("## Where it plugs in")[1].split("\n## ")[0]
PYTHON = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
SHELL = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)


def the_one_with(text, snippets):
    found = [one for one in snippets if text in one]
    assert len(found) == 1
    return found[0]


def carry_out(text, **names):
    names = {"videosieve": videosieve, "prompt": "a red cat runs", **names}
    exec(compile(the_one_with(text, PYTHON), "README.md", "exec"), names)
    return names


@pytest.fixture
def pipe(monkeypatch):
    """A tiny Wan that makes a quick video of a prompt."""
    pipe = tiny_wan(layers=9)  # more than the eight that DBCache computes always
    pipe.set_progress_bar_config(disable=True)
    plain = type(pipe).__call__
    monkeypatch.setattr(type(pipe), "__call__", lambda self, prompt: plain(self, **wan_call(prompt)))
    return pipe


def test_every_snippet_has_its_test_below():
    assert (len(PYTHON), len(SHELL)) == (4, 3)


def test_a_language_model():
    llm, tokens = tiny_language_model(), prompt_tokens(1, 1100)
    with torch.no_grad():
        found = carry_out("llm.generate", llm=llm, inputs={"input_ids": tokens})
    assert found["run"].summary().sparse_calls > 0
    assert found["tokens"].shape[1] > 1100


def test_a_program_with_attention_calls():
    q, k, v = (torch.randn(1, 8 * 8 * 12, 2, 32) for _ in range(3))
    found = carry_out("import bind", q=q, k=k, v=v)
    assert found["out"].shape == q.shape
    assert torch.isfinite(found["out"]).all()


@pytest.mark.filterwarnings("ignore:nothing was sparse")  # 18 tokens
def test_a_pipeline_with_cache_dit(pipe):
    pytest.importorskip("cache_dit", reason="cache-dit is not installed: pip install 'videosieve[cache-dit]'")
    found = carry_out("cache_dit", pipe=pipe)
    assert len(found["run"].trace) == 3 * 2 * 9  # no step is cached before the eighth
    found["cache_dit"].disable_cache(pipe)


@pytest.mark.filterwarnings("ignore:nothing was sparse")
def test_a_server(pipe, capsys):
    carry_out("on_generation", pipe=pipe)
    assert capsys.readouterr().out == "0 1.0\n"


def test_vllm_omni_finds_the_backend_that_the_command_names(monkeypatch):
    words = shlex.split(the_one_with("vllm serve", SHELL).replace("\\\n", " "))
    name, member = words[0].split("=")
    told = json.loads(words[words.index("--diffusion-attention-config") + 1])["per_role"]["self"]
    assert told["backend"] == member
    host = Host(monkeypatch)
    monkeypatch.setenv(name, member)
    register()
    host.build("transformer.blocks.7.attn1", **told["extra"])  # refuses what nobody knows
    assert list(host.registered) == [host.members[member]]


def test_comfyui_finds_the_nodes_in_the_folder(monkeypatch):
    folder = shlex.split(the_one_with("ComfyUI", SHELL))[2]
    assert (ROOT / folder / "__init__.py").is_file()
    nodes = load_nodes(monkeypatch)
    name = re.search(r"\*(Sparse attention.*?)\*", SECTION)[1]
    assert name in nodes.NODE_DISPLAY_NAME_MAPPINGS.values()


def test_the_command_for_several_devices_wants_as_many_processes(tmp_path):
    """What it does with them is in tests/cli/test_cli.py."""
    words = shlex.split(the_one_with("torchrun", SHELL))
    arguments = words[words.index("videosieve") + 1 :]
    answer = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "one.mp4")])
    assert "--ulysses 2 needs 2 processes" in f"{answer.output} {answer.exception}"
