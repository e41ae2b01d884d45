"""The prefill of language models, sparse: the dense limit with every cache and mask, refusals, exactly undone."""

import copy

import pytest
import torch
import transformers

import videosieve
from videosieve import IntegrationError, RecipeError, VideosieveWarning
from videosieve.integrations.transformers import NAME, layers
from videosieve.integrations.transformers.layers import HANDLE
from videosieve.testing.language import prompt_tokens, tiny_language_model, tiny_vision_model, video_prompt

SMALL = {"min_tokens": 32, "block": 16}
ANSWERS = pytest.mark.parametrize("compensate", ["none", "tangents"])
PADDED = torch.ones(2, 300, dtype=torch.long)
PADDED[1, :37] = 0
STATIC, CHUNKS = {"cache_implementation": "static"}, {"prefill_chunk_size": 128}
SITUATIONS = {
    "plain": {},
    "left-padded": {"attention_mask": PADDED},
    "chunked": CHUNKS,
    "chunked, left-padded": CHUNKS | {"attention_mask": PADDED},
    "static": STATIC,
    "static, left-padded": STATIC | {"attention_mask": PADDED},
    "static, chunked": STATIC | CHUNKS,
    "static, chunked, left-padded": STATIC | CHUNKS | {"attention_mask": PADDED},
}
pytestmark = pytest.mark.filterwarnings("ignore:.*")


def logits(model, tokens, steps=3, **options):
    with torch.no_grad():
        out = model.generate(
            tokens, max_new_tokens=steps, min_new_tokens=steps, do_sample=False, output_logits=True,
            return_dict_in_generate=True, **options,
        )  # fmt: skip
    return torch.stack(out.logits)


def assert_same(actual, expected):
    """fp32 through three layers: a few hundred roundings of numbers near 1, far below what a lost block does."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


@ANSWERS
@pytest.mark.parametrize("options", SITUATIONS.values(), ids=SITUATIONS.keys())
def test_keeping_all_mass_is_the_dense_model(options, compensate):
    model, tokens = tiny_language_model(), prompt_tokens(2, 300)
    expected = logits(model, tokens, **options)
    with videosieve.sparsify(model, "xattention", threshold=1.0, compensate=compensate, **SMALL) as run:
        assert_same(logits(model, tokens, **options), expected)
    summary = run.summary()
    assert summary.sparse_density == pytest.approx(1)
    assert summary.recall == pytest.approx(1, abs=1e-5)
    assert summary.sparse_calls == summary.calls
    assert "decoding: 2 steps, dense as before" in str(summary)


@pytest.mark.parametrize("options", SITUATIONS.values(), ids=SITUATIONS.keys())
def test_a_sparse_prefill_computes_less_and_stays_near(options):
    model, tokens = tiny_language_model(), prompt_tokens(2, 300)
    expected = logits(model, tokens, **options)
    with videosieve.sparsify(model, "xattention", threshold=0.5, stride=8, **SMALL) as run:
        actual = logits(model, tokens, **options)
    assert run.summary().sparse_density < 0.85
    assert not torch.equal(actual, expected)
    assert_same(logits(model, tokens, **options), expected)


@pytest.mark.parametrize("options", SITUATIONS.values(), ids=SITUATIONS.keys())
def test_tangents_bring_a_sparse_prefill_nearer(options):
    model, tokens = tiny_language_model(), prompt_tokens(2, 300)
    expected = logits(model, tokens, **options)
    errors, runs = [], []
    for compensate in ("none", "tangents"):
        with videosieve.sparsify(
            model, "xattention", threshold=0.5, stride=8, compensate=compensate, **SMALL
        ) as run:
            errors.append(float((logits(model, tokens, **options) - expected).square().mean()))
        runs.append(run.summary())
    assert errors[1] < 0.7 * errors[0]
    assert runs[0].compensated is None
    assert 0 < runs[1].compensated < 1 - runs[1].recall


@ANSWERS
def test_a_padded_batch_is_its_prompts_one_by_one(compensate):
    model, tokens = tiny_language_model(), prompt_tokens(2, 300)
    with videosieve.sparsify(model, "xattention", threshold=0.6, compensate=compensate, **SMALL):
        together = logits(model, tokens, steps=2, attention_mask=PADDED)
        for item, start in ((0, 0), (1, 37)):
            alone = logits(model, tokens[item : item + 1, start:], steps=2)
            assert_same(alone[:, 0], together[:, item])


@ANSWERS
def test_chunks_of_whole_blocks_choose_as_the_whole_prompt_does(compensate):
    model, tokens = tiny_language_model(), prompt_tokens(1, 256)
    with videosieve.sparsify(model, "xattention", threshold=0.6, compensate=compensate, **SMALL):
        assert_same(logits(model, tokens, prefill_chunk_size=128), logits(model, tokens))


def test_a_second_turn_and_assisted_decoding_go_on_from_the_cache():
    model, tokens = tiny_language_model(), prompt_tokens(1, 300)
    with torch.no_grad(), videosieve.sparsify(model, "xattention", threshold=1.0, **SMALL) as run:
        cache = model(tokens[:, :200]).past_key_values
        second = model(tokens[:, 200:], past_key_values=cache).logits
        short = model(tokens[:, :9], past_key_values=cache).logits
    expected = model(tokens).logits[:, 200:].detach()
    assert_same(second, expected)
    assert short.shape[1] == 9
    reasons = run.summary().dense_reasons
    assert reasons == {"fewer than 32 queries": 3}
    kernels = {r.kernel for r in run.trace.records if r.action == "dense"}
    assert kernels == {"sdpa"}
    draft = tiny_language_model(num_hidden_layers=1)
    before = model.generate(tokens, assistant_model=draft, max_new_tokens=5, do_sample=False)
    with videosieve.sparsify(model, "xattention", threshold=1.0, **SMALL):
        assert torch.equal(
            model.generate(tokens, assistant_model=draft, max_new_tokens=5, do_sample=False), before
        )


def test_right_padding_holes_and_packing_stay_dense_with_the_reason():
    model, tokens = tiny_language_model(), prompt_tokens(2, 100)
    right, holes = (torch.ones(2, 100, dtype=torch.long) for _ in range(2))
    right[1, 90:] = 0
    holes[1, 30:40] = 0
    packed = torch.cat([torch.arange(60), torch.arange(40)]).expand(2, -1)
    cases = {
        "padding on the right": {"attention_mask": right},
        "padding between tokens": {"attention_mask": holes},
        "a mask with a row for every query": {"position_ids": packed, "use_cache": False},
    }
    for reason, options in cases.items():
        with torch.no_grad():
            expected = model(tokens, **options).logits
            with videosieve.sparsify(model, "xattention", threshold=0.5, **SMALL) as run:
                actual = model(tokens, **options).logits
        assert_same(actual[0], expected[0])
        assert run.summary().dense_reasons == {reason: 3}
        assert any("nothing was sparse" in warning for warning in run.warnings())


@pytest.mark.parametrize(
    ("family", "sizes", "dense"),
    [
        ("Qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}, 2),
        ("Mistral", {"sliding_window": 16}, 3),
        ("Mistral", {"sliding_window": None}, 0),
        ("Qwen3", {"head_dim": 16}, 0),
        ("Qwen2", {}, 0),
    ],
)
def test_other_families_and_windows(family, sizes, dense):
    model, tokens = tiny_language_model(family, **sizes), prompt_tokens(1, 200)
    expected = logits(model, tokens)
    with videosieve.sparsify(model, "xattention", threshold=1.0, **SMALL) as run:
        assert_same(logits(model, tokens), expected)
    windows = [r for r in run.trace.records if r.reason == "a window of 16 tokens"]
    assert len(windows) == dense
    assert run.summary().sparse_calls == 3 - dense


@pytest.mark.parametrize("family", ["Qwen2VL", "Qwen2_5_VL", "Qwen3VL"])
def test_of_a_vision_model_the_language_model_alone_is_sparse(family):
    model, prompt = tiny_vision_model(family), video_prompt(family)
    tokens = prompt.pop("input_ids")
    expected = logits(model, tokens, **prompt)
    before = model.config._attn_implementation, model.config.vision_config._attn_implementation
    with videosieve.sparsify(model, "xattention", threshold=1.0, **SMALL) as run:
        assert model.config.text_config._attn_implementation == NAME
        assert (model.config._attn_implementation, model.config.vision_config._attn_implementation) == before
        assert_same(logits(model, tokens, **prompt), expected)
    assert run.summary().sparse_calls == 3
    assert run.trace.records[0].layer == 0
    assert model.config.text_config._attn_implementation == "sdpa"


def test_a_batch_of_two_videos():
    model, prompt = tiny_vision_model("Qwen2VL"), video_prompt("Qwen2VL")
    twice = {name: torch.cat([x, x]) for name, x in prompt.items()}
    with videosieve.sparsify(model, "xattention", threshold=0.7, **SMALL):
        one = logits(model, prompt.pop("input_ids"), **prompt)
        two = logits(model, twice.pop("input_ids"), **twice)
    assert_same(two, one.expand_as(two))


def test_everything_is_undone():
    model, tokens = tiny_language_model(), prompt_tokens(1, 100)
    before = logits(model, tokens)
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    run = videosieve.sparsify(model, "xattention", **SMALL)
    assert model.config._attn_implementation == NAME
    assert NAME not in str(model.config.to_dict())
    run.remove()
    run.remove()
    assert {name: set(vars(module)) for name, module in model.named_modules()} == attributes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(logits(model, tokens), before)
    with videosieve.sparsify(model, "xattention", **SMALL):
        pass
    assert model.config._attn_implementation == "sdpa"


def test_eager_attention_comes_back_and_decodes():
    model, tokens = tiny_language_model(), prompt_tokens(2, 100)
    model.set_attn_implementation("eager")
    mask = PADDED[:, :100].clone()
    expected = logits(model, tokens, attention_mask=mask)
    with videosieve.sparsify(model, "xattention", threshold=1.0, **SMALL):
        assert_same(logits(model, tokens, attention_mask=mask), expected)
    with videosieve.sparsify(model, "xattention", threshold=1.0):  # too short: eager for all of it
        assert_same(logits(model, tokens, attention_mask=mask), expected)
    assert model.config._attn_implementation == "eager"


def test_two_models_of_one_config_object():
    config = tiny_language_model().config
    one, two = (transformers.LlamaForCausalLM(config).eval() for _ in range(2))
    tokens = prompt_tokens(2, 100)
    expected = logits(two, tokens, attention_mask=PADDED[:, :100])
    with videosieve.sparsify(one, "xattention", threshold=0.3, **SMALL):
        assert_same(logits(two, tokens, attention_mask=PADDED[:, :100]), expected)
        with pytest.raises(IntegrationError, match=r"shares its config object .*copy\.deepcopy"):
            videosieve.sparsify(two, "xattention")
    copied = transformers.LlamaForCausalLM(copy.deepcopy(config))
    with videosieve.sparsify(one, "xattention"), videosieve.sparsify(copied, "xattention"):
        pass


@pytest.mark.parametrize("whole", [True, False], ids=["model", "layers"])
def test_compiled_it_is_one_frame(whole):
    torch._dynamo.reset()
    model, frames = tiny_language_model(num_hidden_layers=12), []

    def backend(graph, _example):
        frames.append(graph)
        return graph.forward

    lengths = (96, 128, 160)
    with torch.no_grad():
        expected = [model(prompt_tokens(1, count), use_cache=False).logits for count in lengths]
        with videosieve.sparsify(model, "xattention", threshold=1.0, **SMALL) as run:
            options = {"backend": backend, "fullgraph": True, "dynamic": True}
            compiled = torch.compile(model, **options) if whole else model
            for layer in () if whole else model.model.layers:
                layer.compile(**options)
            for count, dense in zip(lengths, expected, strict=True):
                assert_same(compiled(prompt_tokens(1, count), use_cache=False).logits, dense)
    assert len(frames) == 1
    assert run.summary().sparse_calls == 36
    assert {r.layer for r in run.trace.records} == set(range(12))


def test_compiled_tangents_are_those_of_the_plain_model():
    torch._dynamo.reset()
    model, tokens = tiny_language_model(), prompt_tokens(1, 300)
    with (
        torch.no_grad(),
        videosieve.sparsify(model, "xattention", threshold=0.5, compensate="tangents", **SMALL),
    ):
        plain = model(tokens, use_cache=False).logits
        compiled = torch.compile(model, backend="eager", fullgraph=True)(tokens, use_cache=False).logits
    assert_same(compiled, plain)


def test_what_cannot_be_sparse_is_refused_and_nothing_is_half_applied():
    model = tiny_language_model()
    cases = [
        (dict(method_or_recipe="svg"), RecipeError, "no causal form, .* those that can are .*xattention"),
        (dict(method_or_recipe="xattention", dense_steps=0.2), RecipeError, "no denoising steps"),
        (dict(method_or_recipe="pab"), RecipeError, "language model|causal form"),
        (dict(method_or_recipe="xattention-hunyuanvideo"), RecipeError, "no denoising steps"),
        (dict(method_or_recipe="xattention-qwen2vl"), RecipeError, "made for Qwen2VL, not for LlamaFor"),
        (
            dict(method_or_recipe="xattention", compensate="centroids"),
            RecipeError,
            "Write compensate='tangents'",
        ),
        (dict(method_or_recipe="xattention", shared_selection=True), RecipeError, "shared_selection"),
        (dict(method_or_recipe="xattention", backend="none"), videosieve.BackendError, "no backend"),
        (dict(method_or_recipe="xattention", recall_rows=-1), IntegrationError, "recall_rows"),
    ]
    for options, error, message in cases:
        with pytest.raises(error, match=message):
            videosieve.sparsify(model, options.pop("method_or_recipe"), **options)
        assert model.config._attn_implementation == "sdpa"
        assert not any(hasattr(module, HANDLE) for module in model.modules())
    model.set_attn_implementation("flex_attention")
    with pytest.raises(IntegrationError, match=r"set_attn_implementation\('sdpa'\) first"):
        videosieve.sparsify(model, "xattention")


def test_tensor_parallel_models_take_no_table_of_heads():
    """`from_pretrained(tp_plan="auto")` says on the model how many processes share its heads."""
    model = tiny_language_model()
    layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
    model._tp_size = 2
    assert model.tp_size == 2  # what transformers itself reads
    table = [[0.9] * heads] * layers
    with pytest.raises(IntegrationError, match="is tensor-parallel: a process has some of the heads only"):
        videosieve.sparsify(model, "xattention", head_thresholds=table, **SMALL)
    assert model.config._attn_implementation == "sdpa"
    assert not any(hasattr(module, HANDLE) for module in model.modules())
    videosieve.sparsify(model, "xattention", threshold=0.9, **SMALL).remove()
    model._tp_size = 1  # a group of one holds every head
    videosieve.sparsify(model, "xattention", head_thresholds=table, **SMALL).remove()


def test_models_of_another_kind_are_refused_by_what_they_are():
    sizes = dict(head_dim=16, sliding_window=16)
    with pytest.raises(IntegrationError, match="caps its attention scores"):
        videosieve.sparsify(tiny_language_model("Gemma2", **sizes), "xattention")
    sinks = tiny_language_model("GptOss", **sizes, num_local_experts=2, num_experts_per_tok=1)
    with pytest.raises(IntegrationError, match="sinks"):
        videosieve.sparsify(sinks, "xattention")
    t5 = transformers.T5Config(d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=50)
    for kind in (transformers.T5EncoderModel, transformers.T5ForConditionalGeneration):
        with pytest.raises(IntegrationError, match=r"encoder-decoder|no causal self-attention"):
            videosieve.sparsify(kind(t5), "xattention")
    bert = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=50
    )
    with pytest.raises(IntegrationError, match="no causal self-attention"):
        videosieve.sparsify(transformers.BertModel(bert), "xattention")


def test_attention_that_is_changed_behind_our_back_is_an_error():
    model, tokens = tiny_language_model(), prompt_tokens(1, 100)
    with videosieve.sparsify(model, "xattention", **SMALL) as run:
        with pytest.raises(IntegrationError, match="already sparsified"):
            videosieve.sparsify(model, "xattention")
        with pytest.raises(IntegrationError, match="continuous batching"):
            model.generate_batch([[3, 4]])
        model.set_attn_implementation("sdpa")
        with pytest.raises(IntegrationError, match=r"changed to 'sdpa' while it is sparse"):
            model(tokens)
    assert model.config._attn_implementation == "sdpa"
    assert "generate_batch" not in vars(model)
    assert run.summary().calls == 0
    with videosieve.sparsify(model, "xattention", **SMALL):
        model.model.layers[1].self_attn.forward = lambda hidden_states, **_: (hidden_states, None)
        with (
            torch.no_grad(),
            pytest.raises(IntegrationError, match="1 of 3 attention layers .* did not reach"),
        ):
            model(tokens)


def test_training_goes_through_the_implementation_that_was_there():
    model, tokens = tiny_language_model(), prompt_tokens(1, 64)
    with videosieve.sparsify(model, "xattention", **SMALL) as run:
        model(tokens, labels=tokens).loss.backward()
    assert model.model.layers[0].self_attn.q_proj.weight.grad.abs().sum() > 0
    assert run.summary().dense_reasons == {"gradients are needed": 3}


def test_classes_without_a_row_are_taken_with_a_warning():
    model = tiny_language_model("Cohere")
    with pytest.warns(VideosieveWarning, match="CohereAttention .* has no row"):
        run = videosieve.sparsify(model, "xattention", **SMALL)
    run.remove()


def test_dense_layers_are_the_first_ones():
    model, tokens = tiny_language_model(), prompt_tokens(1, 100)
    with torch.no_grad(), videosieve.sparsify(model, "xattention", dense_layers=2, **SMALL) as run:
        model(tokens)
    assert [r.action for r in run.trace.records] == ["dense", "dense", "sparse"]


def test_steps_of_decoding_are_counted_of_the_sparse_model_alone():
    model, other, tokens = tiny_language_model(), tiny_language_model(), prompt_tokens(1, 100)
    with videosieve.sparsify(model, "xattention", **SMALL) as run:
        logits(model, tokens, steps=5)
        logits(other, tokens, steps=5)
        with torch.no_grad():
            model.model(tokens[:, :1])  # by the part that has no guard, too
        with videosieve.sparsify(other, "xattention", **SMALL) as second:
            logits(other, tokens, steps=3)
    assert "decoding: 5 steps" in str(run.summary())
    assert "decoding: 2 steps" in str(second.summary())
    assert not layers._FIRST
