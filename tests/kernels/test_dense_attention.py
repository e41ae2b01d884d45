import sys
from types import ModuleType

import pytest
import torch

from videosieve.errors import BackendError, ShapeError
from videosieve.kernels import dense_attention
from videosieve.kernels.dense_attention import IMPLEMENTATIONS, backends, fastest, native, reference, runner
from videosieve.kernels.native_library import NativeLibrary
from videosieve.testing.factories import make_qkv
from videosieve.testing.oracles import attention_oracle
from videosieve.testing.tolerances import assert_within, plain_attention


@pytest.fixture(autouse=True)
def _forget_tests():
    yield
    backends.find_failure.cache_clear()


@pytest.mark.parametrize("backend", ["native", "block-sparse", "sdpa", "reference", None])
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_every_query_sees_every_key_or_those_before_it(backend, causal, dtype):
    q, k, v = make_qkv(75, 75, batch=2, head_dim=32, dtype=dtype)
    if backend == "native" and (refusal := native.refuse(q, k, v, 0.3, causal)) is not None:
        pytest.skip(f"native refuses: {refusal}")
    output = dense_attention(q, k, v, scale=0.3, causal=causal, backend=backend)
    keep = torch.ones(1, 1, 75, 75, dtype=torch.bool)
    keep = keep.tril() if causal else keep
    exact, rough = attention_oracle(q, k, v, keep, 0.3)[0], plain_attention(q, k, v, keep, 0.3)[0]
    assert output.dtype == dtype
    assert_within(output, rough, exact, "output")


def test_on_a_cpu_torch_chooses_and_the_others_say_why_not():
    q, k, v = make_qkv(20, 20)
    assert runner(q, k, v) == "sdpa"
    reasons = {i.name: i.refuse(q, k, v, 0.25, False) for i in IMPLEMENTATIONS}
    assert reasons["cudnn"] == "it is preferred from sm90 on, got cpu"
    assert reasons["flash"] == "it needs CUDA tensors, got cpu"
    assert "pip install fa3-fwd" in str(reasons["flash-attn-3"])
    with pytest.raises(
        BackendError, match="flash cannot run this dense_attention: .* Backends that can: sdpa, .*reference"
    ):
        dense_attention(q, k, v, backend="flash")


def test_the_fastest_on_a_cpu_is_native_where_vector_instructions_are_there(monkeypatch):
    q, k, v = make_qkv(20, 20)
    monkeypatch.setattr(native, "refuse", lambda *_: None)
    for sets, name in ((("avx2", "portable"), "native"), (("portable",), "sdpa")):
        monkeypatch.setattr(native, "load", lambda sets=sets: NativeLibrary(None, sets))
        assert fastest(q, k, v) == name
    monkeypatch.setattr(native, "refuse", lambda *_: "it was not built")
    assert fastest(q, k, v) == "sdpa"


class OnGpu(torch.Tensor):
    """Says that it lies on a GPU."""

    @property
    def device(self):
        return torch.device("cuda")


@pytest.mark.parametrize(
    ("arch", "present", "dtype", "head_dim", "expected"),
    [
        (90, ("flash_attn_interface",), torch.bfloat16, 128, "flash-attn-3"),
        (90, ("fa3_fwd_interface", "flash_attn", "flash_attn.cute"), torch.bfloat16, 64, "flash-attn-3"),
        (90, ("flash_attn", "flash_attn.cute"), torch.float16, 128, "flash-attn-4"),
        (100, ("flash_attn_interface", "flash_attn", "flash_attn.cute"), torch.bfloat16, 128, "flash-attn-4"),
        (90, (), torch.bfloat16, 128, "cudnn"),
        (80, ("flash_attn_interface", "flash_attn", "flash_attn.cute"), torch.bfloat16, 128, "flash"),
        (90, (), torch.bfloat16, 192, "flash"),
        (90, ("flash_attn_interface",), torch.float32, 128, "sdpa"),
    ],
    ids=str,
)
def test_the_fastest_kernel_present_is_taken(monkeypatch, arch, present, dtype, head_dim, expected):
    monkeypatch.setattr(backends, "installed", lambda name: name in present)
    monkeypatch.setattr(backends, "architecture", lambda _: arch)
    monkeypatch.setattr(backends, "_ask_torch", lambda *_: None)
    monkeypatch.setattr(backends, "find_failure", NeverFails())
    q, k, v = (x.as_subclass(OnGpu) for x in make_qkv(16, 16, head_dim=head_dim, dtype=dtype))
    assert runner(q, k, v) == expected


class NeverFails:
    def __call__(self, *_):
        return None

    def cache_clear(self):
        pass


@pytest.mark.parametrize("returns", ["output", "output and LSE"])
def test_flash_attention_is_called_with_tokens_before_heads(monkeypatch, returns):
    def flash_attn_func(q, k, v, *, softmax_scale, causal):
        rows = (x.transpose(1, 2) for x in (q, k, v))
        output = reference.dense_attention(*rows, softmax_scale, causal).transpose(1, 2)
        return output if returns == "output" else (output, None)

    module = ModuleType("flash_attn_interface")
    module.flash_attn_func = flash_attn_func
    monkeypatch.setitem(sys.modules, "flash_attn_interface", module)
    monkeypatch.setattr(backends, "installed", lambda name: name == "flash_attn_interface")
    q, k, v = make_qkv(40, 40)
    torch.testing.assert_close(
        backends.flash3(q, k, v, 0.25, True), reference.dense_attention(q, k, v, 0.25, True)
    )
    assert backends.find_failure("flash-attn-3", torch.device("cpu"), torch.bfloat16, 64) is None


def test_a_kernel_that_is_wrong_is_found_out(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setitem(
        backends.RUNS, "flash-attn-3", lambda q, k, v, _scale, causal: backends.sdpa(q, k, v, 1.0, causal)
    )
    assert "does not agree" in str(backends.find_failure("flash-attn-3", cpu, torch.bfloat16, 64))
    monkeypatch.setitem(
        backends.RUNS, "flash-attn-4", lambda q, k, v, scale, _: backends.sdpa(q, k, v, scale, False)
    )
    assert "causal=True" in str(backends.find_failure("flash-attn-4", cpu, torch.bfloat16, 64))


def test_tensors_that_do_not_fit_are_refused():
    q, k, v = make_qkv(20, 30)
    with pytest.raises(
        ShapeError, match=r"k and v must be \[1, 2, keys, 16\], got \[1, 2, 30, 16\] and \[1, 2, 29, 16\]"
    ):
        dense_attention(q, k, v[:, :, 1:])


@pytest.mark.parametrize("strides", [(1, 1, 3, 1), (2000, 1000, 1, 1), (4000, 1, 60, 1), (1, 3840, 48, 1)])
def test_queries_that_overlap_in_memory_are_read_as_they_are(strides):
    """torch lays its output out like q, and then writes over it."""
    shape, source = (2, 2, 40, 48), torch.Generator().manual_seed(0)
    length = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    q = torch.randn(length, generator=source).as_strided(shape, strides)
    k, v = (torch.randn(shape, generator=source) for _ in range(2))
    for causal in (False, True):
        result = dense_attention(q, k, v, causal=causal, backend="sdpa")
        exact = dense_attention(q.double(), k.double(), v.double(), causal=causal, backend="reference")
        torch.testing.assert_close(result.double(), exact, atol=1e-4, rtol=1e-4)
