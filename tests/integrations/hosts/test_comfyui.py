"""The nodes of ComfyUI, against a stand-in of the host: what is sparse, what stays dense, and what comes back."""

import asyncio
import json
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from integrations.hosts.comfyui_stand_in import PACKAGE, Container, Patcher, Wan, attention, load_nodes

from videosieve import IntegrationError, Recipe, RecipeError
from videosieve.integrations.comfyui import SparsePatch, parse_blocks
from videosieve.integrations.comfyui.forwards import Forwards, grid_of

SIGMAS = [1.0, 0.8, 0.6, 0.4, 0.0]
LATENTS = torch.randn(1, 8, 4, 16, 16, generator=torch.Generator().manual_seed(0))  # 4 × 8 × 8 tokens


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_nodes(monkeypatch)


def patched(nodes: ModuleType, model: Any = None, **told: Any) -> Any:
    settings = {
        "method": "svg", "density": 0.4, "start_percent": 0.2, "end_percent": 1.0, "min_tokens": 0, **told,
    }  # fmt: skip
    node = nodes.NODE_CLASS_MAPPINGS["VideosieveSparseAttention"]
    return node.execute(model or Patcher(Wan()), **settings)[0]


def run_of(model: Any) -> Any:
    return model.model_options["transformer_options"]["videosieve"]().run


def test_density_one_is_what_the_host_computes(nodes):
    expected = Patcher(Wan()).sample(LATENTS, SIGMAS)
    model = patched(nodes, density=1.0, start_percent=0.0)
    found = model.sample(LATENTS, SIGMAS)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    assert run_of(model).summary().sparse_calls == 2 * 2 * 4  # blocks, branches, steps


def test_sparse_where_start_and_end_say_so_and_dense_steps_are_the_hosts_own(nodes):
    expected = Patcher(Wan()).sample(LATENTS, SIGMAS)
    model = patched(nodes, start_percent=0.3)  # sigma 0.7
    found = model.sample(LATENTS, SIGMAS)
    torch.testing.assert_close(found[:4], expected[:4], rtol=0, atol=0)
    assert not torch.equal(found[4], expected[4])
    records = run_of(model).trace.records
    told = {(record.step, record.action) for record in records}
    assert told == {(0, "dense"), (1, "dense"), (2, "sparse"), (3, "sparse")}
    assert {record.reason for record in records if record.action == "dense"} == {"outside of start and end"}
    assert {(record.layer, record.branch) for record in records} == {
        (layer, branch) for layer in (0, 1) for branch in ("cond", "uncond")
    }
    assert all(record.steps == 4 for record in records)


@pytest.mark.parametrize("method", ["svg2", "adaspa", "sieve"])
def test_branches_in_one_batch_keep_their_memories_apart(nodes, method):
    told = {"method": method, "start_percent": 0.0}
    apart = patched(nodes, **told).sample(LATENTS, SIGMAS)
    together = patched(nodes, **told).sample(LATENTS, SIGMAS, together=True)
    both = [torch.cat([apart[2 * step + 1], apart[2 * step]]) for step in range(4)]
    torch.testing.assert_close(together, both, rtol=0, atol=1e-5)


def test_a_second_run_begins_anew_and_repeats_the_first(nodes):
    model = patched(nodes, method="svg2", start_percent=0.0)
    first = model.sample(LATENTS, SIGMAS)
    torch.testing.assert_close(model.sample(LATENTS, SIGMAS), first, rtol=0, atol=0)
    assert run_of(model).summary().calls == 16
    assert run_of(model).states() == {}


def test_an_override_from_before_computes_what_stays_dense_and_a_later_one_does_not_win(nodes):
    seen: list[str] = []

    def named(name: str) -> Any:
        def override(func: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(name)
            return func(*args, **kwargs)

        return override

    before = Patcher(Wan())
    before.model_options["transformer_options"]["optimized_attention_override"] = named("before")
    model = patched(nodes, before, start_percent=0.0)
    later = model.clone()
    own = later.model_options["transformer_options"]["optimized_attention_override"]
    later.model_options["transformer_options"]["optimized_attention_override"] = (
        lambda func, *args, **kwargs: (seen.append("later"), own(func, *args, **kwargs))[1]
    )
    later.sample(LATENTS, SIGMAS)
    # Sixteen cross-attentions went down the chain, every self-attention was taken at its top.
    assert seen == ["later", "before"] * 16
    assert run_of(later).summary().calls == run_of(later).summary().sparse_calls == 16


def test_the_grid_comes_from_latents_where_the_model_publishes_none(nodes):
    model = patched(nodes, Patcher(Wan(publishes=False)), start_percent=0.0)
    expected = patched(nodes, start_percent=0.0).sample(LATENTS, SIGMAS)
    torch.testing.assert_close(model.sample(LATENTS, SIGMAS), expected, rtol=0, atol=0)


def test_dense_blocks_and_short_sequences(nodes):
    model = patched(nodes, dense_blocks="1", start_percent=0.0)
    model.sample(LATENTS, SIGMAS)
    told = {(record.layer, record.action, record.reason) for record in run_of(model).trace.records}
    assert told == {(0, "sparse", ""), (1, "dense", "a dense block")}
    model = patched(nodes, min_tokens=300, start_percent=0.0)
    model.sample(LATENTS, SIGMAS)
    assert run_of(model).summary().dense_reasons == {"fewer than 300 tokens": 16}


def make_patch(**told: Any) -> tuple[SparsePatch, dict[str, Any]]:
    patch = SparsePatch.of("svg", 1.0, 1.0, 0.0, **told)
    options = {"sigmas": torch.tensor([0.5]), "grid_sizes": (4, 8, 8)}
    patch.install(options)
    patch.install(options)  # on top already
    return patch, options


@pytest.mark.parametrize("skip_output", [False, True])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("contained", [False, True])
def test_both_forms_of_tensors_containers_and_grouped_heads(skip, skip_output, contained):
    patch, options = make_patch()
    q = torch.randn(1, 4, 256, 16, generator=torch.Generator().manual_seed(1))
    k, v = q[:, :2].roll(1, 2), q[:, 2:].roll(2, 2)
    expected = F.scaled_dot_product_attention(q, k, v, scale=0.1, enable_gqa=True)
    form = (lambda x: x) if skip else (lambda x: x.transpose(1, 2).flatten(2))
    given: Any = [form(x) for x in (q, k, v)]
    if contained:
        given = [Container(x) for x in given]
    found = attention(
        *given, 4, skip_reshape=skip, skip_output_reshape=skip_output, transformer_options=options,
        enable_gqa=True, scale=0.1, low_precision_attention=False,
    )  # fmt: skip
    if not skip_output:
        expected = expected.transpose(1, 2).flatten(2)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    assert patch.run.summary().sparse_calls == 1


@pytest.mark.parametrize(
    ("tokens", "told", "changes", "reason"),
    [
        (260, {}, {}, "its sequence holds more than the video, and `text` is none"),
        (256, {}, {"mask": torch.zeros(256, 256)}, "it has a mask"),
        (256, {}, {"sigmas": None}, "the host does not say the noise level"),
    ],
)
def test_what_stays_dense_says_why(tokens, told, changes, reason):
    patch, options = make_patch(**told)
    options |= {key: value for key, value in changes.items() if key != "mask"}
    q = torch.randn(1, tokens, 32, generator=torch.Generator().manual_seed(1))
    mask = changes.get("mask")
    found = attention(q, q, q, 2, mask, transformer_options=options)
    assert torch.equal(found, attention(q, q, q, 2, mask))
    assert patch.run.summary().dense_reasons == {reason: 1}


def test_text_before_or_after_the_video_is_a_part_of_the_layout():
    for text in ("before", "after"):
        patch, options = make_patch(text=text)
        q = torch.randn(1, 260, 32, generator=torch.Generator().manual_seed(1))
        found = attention(q, q, q, 2, transformer_options=options)
        torch.testing.assert_close(found, attention(q, q, q, 2), rtol=0, atol=2e-5)
        assert patch.run.summary().sparse_calls == 1


def test_the_report_has_the_latents_a_text_and_a_picture(nodes):
    report = nodes.NODE_CLASS_MAPPINGS["VideosieveAttentionReport"]
    model = patched(nodes)
    latent = {"samples": LATENTS}
    assert "connect the report behind the sampler" in report.execute(model, latent)[1]
    model.sample(LATENTS, SIGMAS)
    same, text, picture = report.execute(model.clone(), latent)
    assert same is latent
    assert "sparse density 0." in text
    assert picture.shape == (1, 2 * 16, 4 * 16, 3)
    assert 0 <= picture.min() <= picture.max() <= 1
    # The dense first step is one colour, and another one than a sparse step.
    assert (picture[0, :, 0] == picture[0, 0, 0]).all()
    assert not torch.equal(picture[0, 0, 0], picture[0, 0, -1])
    with pytest.raises(ValueError, match="has not been through Sparse attention"):
        report.execute(Patcher(Wan()), latent)


def test_settings_are_refused_before_a_sampler_runs(nodes):
    with pytest.raises(IntegrationError, match="numbers and ranges, like 0, 1, 47-49; got 'x'"):
        patched(nodes, dense_blocks="0, x")
    with pytest.raises(IntegrationError, match="text must be one of none, before, after"):
        patched(nodes, text="inside")
    with pytest.raises(RecipeError, match="nonsense"):
        patched(nodes, method="nonsense")
    assert parse_blocks("0, 1, 47-49,5 - 4") == {0, 1, 4, 5, 47, 48, 49}
    assert parse_blocks("") == frozenset()


def test_the_names_of_both_interfaces_agree_and_every_method_exists(nodes):
    listed = asyncio.run(asyncio.run(nodes.comfy_entrypoint()).get_node_list())
    assert listed == list(nodes.NODE_CLASS_MAPPINGS.values())
    assert set(nodes.NODE_DISPLAY_NAME_MAPPINGS) == set(nodes.NODE_CLASS_MAPPINGS)
    schema = listed[0].define_schema()
    methods = next(one.told["options"] for one in schema.inputs if one.id == "method")
    for method in methods:
        density = 0.0 if method in ("xattention",) else 0.3
        assert SparsePatch.of(method, density, 1.0, 0.0).recipe.method.name == method


def test_the_example_is_a_graph_of_these_nodes_with_values_for_their_inputs(nodes):
    graph = json.loads((PACKAGE / "example_workflows" / "wan_sparse_attention.json").read_text())
    by_id = {node["id"]: node for node in graph["nodes"]}
    for link, source, out, target, place, kind in graph["links"]:
        assert link in by_id[source]["outputs"][out]["links"]
        assert by_id[target]["inputs"][place]["link"] == link
        assert by_id[target]["inputs"][place]["type"] in (kind, "*")
    for name, node in nodes.NODE_CLASS_MAPPINGS.items():
        there = next(one for one in graph["nodes"] if one["type"] == name)
        schema = node.define_schema()
        wired = [one["name"] for one in there["inputs"]]
        assert [one.id for one in schema.inputs][: len(wired)] == wired
        assert len(there["widgets_values"]) == len(schema.inputs) - len(wired)
        assert [one["name"] for one in there["outputs"]] == [
            one.told["display_name"] for one in schema.outputs
        ]


def test_steps_are_places_among_the_samplers_noise_levels():
    forwards = Forwards()
    steps = []
    for sigma in (1.0, 0.9, 0.8, 0.41, 0.4, 0.1):
        options = {"sigmas": torch.tensor([sigma]), "sample_sigmas": torch.tensor(SIGMAS)}
        forwards.begin(LATENTS, Wan(), options)
        site = forwards.site(*forwards.next_layer(options), "cond", options)
        steps.append((site.step, site.steps))
    assert steps == [(0, 4), (0, 4), (1, 4), (2, 4), (3, 4), (3, 4)]


def test_noise_levels_that_rise_are_steps_too():
    forwards, rising = Forwards(), torch.tensor(SIGMAS).flip(0)
    steps = []
    for sigma in (0.0, 0.4, 0.6, 0.7, 0.8):
        options = {"sigmas": torch.tensor([sigma]), "sample_sigmas": rising}
        forwards.begin(LATENTS, Wan(), options)
        steps.append(forwards.site(*forwards.next_layer(options), "cond", options).step)
    assert steps == [0, 1, 2, 2, 3]


WINDOWS = [[0, 1, 2], [2, 3, 4], [4, 5, 0]]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("method", ["adaspa", "svg2", "sieve", "svg-shared"])
def test_context_windows_that_take_turns_keep_their_memories(method, together):
    latents = torch.randn(1, 8, 6, 16, 16, generator=torch.Generator().manual_seed(1))
    shared = {"shared_selection": True} if method == "svg-shared" else {}
    recipe = Recipe.of(method.removesuffix("-shared"), density=0.4, dense_steps=0, min_tokens=0, **shared)

    def sample(turns):
        model, patch = Patcher(Wan()), SparsePatch(recipe, 1.0, 0.0)
        options = model.model_options["transformer_options"]
        patch.install(options)
        model.add_wrapper_with_key(
            "diffusion_model",
            "test",
            lambda run, *args: (patch.begin_forward(args[0], Wan(), args[3]), run(*args))[1],
        )
        parts = 1 if together else 2
        outputs = model.sample(latents, SIGMAS, together, lambda step: [WINDOWS[n] for n in turns(step)])
        found: dict[int, list[torch.Tensor]] = {}
        for place, output in enumerate(outputs):
            step, call = divmod(place, parts * len(turns(0)))
            found.setdefault(turns(step)[call // parts], []).append(output)
        assert all(record.action == "sparse" for record in patch.run.trace.records)
        return found

    mixed = sample(lambda step: [(step + n) % 3 for n in range(3)])
    for number in range(3):
        alone = sample(lambda step, number=number: [number])[number]
        torch.testing.assert_close(mixed[number], alone, rtol=0, atol=0)


def test_latents_that_are_no_video_have_no_grid():
    assert grid_of(torch.zeros(1, 4, 5, 7, 9), (1, 2, 2)) == (5, 4, 5)  # padded up
    assert grid_of(torch.zeros(1, 4, 5, 7, 9), 2) == (5, 4, 5)
    assert grid_of(torch.zeros(1, 4, 8, 8), 2) is None
    assert grid_of(torch.zeros(1, 4, 5, 8, 8), None) is None
