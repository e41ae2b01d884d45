"""Quantised weights: a GGUF file, and torchao's linears, loaded as diffusers loads them; bitsandbytes' put in by hand.

diffusers loads bitsandbytes' linears on a GPU only; the linears themselves run on a CPU as well.
"""

import pytest
import torch
from diffusers import WanTransformer3DModel

from videosieve.integrations.diffusers import sparsify
from videosieve.testing.pipelines import tiny_wan, wan_call

SPARSE = {"density": 0.4, "min_tokens": 0, "dense_steps": 1, "block": 8}
REUSING = {"reuse_range": 2, "reuse_start": 0.0, "reuse_stop": 1.0, "reuse_mlp": 2}


def wide():
    """Rows of weights as long as formats with blocks of 32 want them."""
    torch.manual_seed(0)
    pipe = tiny_wan()
    config = dict(pipe.transformer.config)
    wider = {"attention_head_dim": 32, "ffn_dim": 128}
    pipe.transformer = WanTransformer3DModel.from_config({**config, **wider}).eval()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe):
    return pipe(**wan_call(num_inference_steps=4)).frames


def write_gguf(transformer, path):
    import gguf

    writer = gguf.GGUFWriter(path, "wan")
    for name, value in transformer.state_dict().items():
        array = value.float().numpy()
        if (
            name.startswith("blocks.")
            and array.ndim == 2
            and array.shape[1] % 32 == 0
            and "table" not in name
        ):
            array = gguf.quants.quantize(array, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, array, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def load_gguf(pipe, folder):
    pytest.importorskip("gguf", reason="gguf is not installed: pip install gguf")
    from diffusers import GGUFQuantizationConfig

    write_gguf(pipe.transformer, folder / "wan.gguf")
    pipe.transformer.save_config(folder)
    quantised = WanTransformer3DModel.from_single_file(
        str(folder / "wan.gguf"),
        config=str(folder),
        quantization_config=GGUFQuantizationConfig(compute_dtype=torch.float32),
        torch_dtype=torch.float32,
    )
    assert type(quantised.blocks[0].attn1.to_q).__name__ == "GGUFLinear"
    return quantised


def load_torchao(pipe, folder):
    pytest.importorskip("torchao", reason="torchao is not installed: pip install torchao")
    from diffusers import TorchAoConfig
    from torchao.quantization import Int8WeightOnlyConfig

    pipe.transformer.save_pretrained(folder)
    quantised = WanTransformer3DModel.from_pretrained(
        folder, quantization_config=TorchAoConfig(Int8WeightOnlyConfig()), torch_dtype=torch.float32
    )
    assert type(quantised.blocks[0].attn1.to_q.weight.data) is not torch.Tensor
    return quantised


def put_bitsandbytes(pipe, _folder):
    reason = "bitsandbytes is not installed: pip install --no-deps bitsandbytes"
    nn = pytest.importorskip("bitsandbytes", reason=reason).nn
    transformer = pipe.transformer
    linears = [name for name, module in transformer.blocks.named_modules() if type(module) is torch.nn.Linear]
    for name in linears:
        place, _, last = name.rpartition(".")
        old = transformer.blocks.get_submodule(name)
        new = nn.Linear4bit(old.in_features, old.out_features, compute_dtype=torch.float32, quant_type="nf4")
        new.load_state_dict(old.state_dict())
        setattr(transformer.blocks.get_submodule(place), last, new.to("cpu"))
    weight = transformer.blocks[0].attn1.to_q.weight
    assert type(weight).__name__ == "Params4bit"
    assert weight.numel() < old.in_features * old.out_features  # two weights a byte
    return transformer


@pytest.fixture(params=[load_gguf, load_torchao, put_bitsandbytes], ids=["gguf", "torchao", "bitsandbytes"])
def quantised(request, tmp_path):
    pipe = wide()
    exact = draw(pipe)
    pipe.transformer = request.param(pipe, tmp_path)
    expected = draw(pipe)
    assert not torch.equal(exact, expected)  # it is quantised
    return pipe, expected


@pytest.mark.filterwarnings("default")  # loaders of both packages warn of their own
def test_quantised_linears_are_not_touched(quantised):
    pipe, expected = quantised
    with sparsify(pipe, "dense"):
        torch.testing.assert_close(draw(pipe), expected, rtol=0, atol=2e-5)
    with sparsify(pipe, "svg", **SPARSE) as run:
        sparse = draw(pipe)
    assert run.summary().sparse_calls == 12
    assert not torch.equal(sparse, expected)
    assert torch.equal(draw(pipe), expected)


@pytest.mark.filterwarnings("default")
def test_outputs_of_quantised_modules_are_reused(quantised):
    pipe, expected = quantised
    with sparsify(pipe, "svg", **{**SPARSE, "density": 1.0, **REUSING}) as run:
        reused = draw(pipe)
    assert run.summary().reused_calls > 0
    assert torch.isfinite(reused).all()
    assert torch.equal(draw(pipe), expected)
