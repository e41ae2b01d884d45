"""Norm and rotary positions against fp64, against diffusers' own modules, and in Triton without a GPU."""

import contextlib

import pytest
import torch
from diffusers.models.embeddings import apply_rotary_emb, get_1d_rotary_pos_embed
from diffusers.models.normalization import RMSNorm
from diffusers.models.transformers.transformer_wan import WanAttention
from hypothesis import given, settings
from hypothesis import strategies as st

from videosieve.errors import BackendError, ShapeError
from videosieve.kernels import reorder_tokens
from videosieve.kernels.launch import SHARED_MEMORY
from videosieve.kernels.norm_rope import HeadNorm, Rotation, Stream, norm_rope
from videosieve.kernels.norm_rope.launch import LAUNCHES
from videosieve.testing.factories import make_qkv
from videosieve.testing.tolerances import assert_within
from videosieve.testing.triton_compile import compile_for
from videosieve.testing.triton_interpreter import interpreted

NORMS = [(None, False), ("rms", False), ("rms", True), ("layer", False), ("layer", True)]
norms = pytest.mark.parametrize(("kind", "across"), NORMS, ids=str)
backends = pytest.mark.parametrize("backend", ["reference", "triton"])


def run(streams, backend, **options):
    with interpreted() if backend == "triton" else contextlib.nullcontext():
        return norm_rope(streams, backend=backend, **options)


def make_stream(tokens, kind="rms", *, across=False, rotated=True, halves=False, bias=None, dtype=torch.float32,
                batch=2, heads=3, head_dim=64, contiguous=False, seed=0):  # fmt: skip
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def make_norm():
        if kind is None:
            return None
        width = heads * head_dim if across else head_dim
        with_bias = kind == "layer" if bias is None else bias
        return HeadNorm(
            kind, 1e-2, draw(width).to(dtype), draw(width).to(dtype) if with_bias else None, across
        )

    q, k, _ = make_qkv(tokens, tokens, batch=batch, heads=heads, head_dim=head_dim, dtype=dtype,
                       contiguous=contiguous, generator=generator)  # fmt: skip
    angles = draw(tokens, head_dim // 2)
    rotation = Rotation(angles.cos().float(), angles.sin().float(), halves) if rotated else None
    return Stream(q + 0.5, k, make_norm(), make_norm(), rotation)


def oracle(x, norm, rotation, dtype):
    """One stream, token by token in `dtype`: torch's own norms, complex numbers for the rotation."""
    y = x.to(dtype).transpose(1, 2).clone()  # [batch, tokens, heads, head_dim]
    if norm is not None:
        shape = [y.shape[2] * y.shape[3]] if norm.across_heads else [y.shape[3]]
        rows = y.flatten(2) if norm.across_heads else y
        weight, bias = (None if w is None else w.to(dtype) for w in (norm.weight, norm.bias))
        if norm.kind == "layer":
            rows = torch.nn.functional.layer_norm(rows, shape, weight, bias, norm.eps)
        else:
            rows = torch.nn.functional.rms_norm(rows, shape, weight, norm.eps) + (0 if bias is None else bias)
        y = rows.view(y.shape)
    if rotation is not None:
        turn = torch.complex(rotation.cos.to(dtype), rotation.sin.to(dtype))
        for token in range(y.shape[1]):
            real, imaginary = (
                y[:, token].chunk(2, -1) if rotation.halves else (y[:, token, :, 0::2], y[:, token, :, 1::2])
            )
            turned = torch.complex(real.contiguous(), imaginary.contiguous()) * turn[token]
            pieces = [turned.real, turned.imag]
            y[:, token] = torch.cat(pieces, -1) if rotation.halves else torch.stack(pieces, -1).flatten(-2)
    return y.transpose(1, 2)


def both(streams, dtype):
    q = torch.cat([oracle(s.q, s.q_norm, s.rotation, dtype) for s in streams], 2)
    k = torch.cat([oracle(s.k, s.k_norm, s.rotation, dtype) for s in streams], 2)
    return q, k


def check(streams, result):
    for actual, rough, exact in zip(
        result, both(streams, torch.float32), both(streams, torch.float64), strict=False
    ):
        assert actual.dtype == streams[0].q.dtype
        assert actual.shape == exact.shape
        assert actual.transpose(1, 2).is_contiguous()
        assert_within(actual, rough.to(actual.dtype), exact, "q or k")


@backends
@norms
@pytest.mark.parametrize("halves", [False, True], ids=["pairs", "halves"])
def test_every_norm_and_rotation_matches_fp64(backend, kind, across, halves):
    video = make_stream(13, kind, across=across, halves=halves)
    text = make_stream(5, kind, across=across, rotated=False, seed=1)
    check([video, text], run([video, text], backend))


@backends
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("head_dim", [64, 128])
def test_half_precision_is_rounded_once(backend, dtype, head_dim):
    streams = [make_stream(5, "layer", rotated=False, dtype=dtype, head_dim=head_dim, heads=9),
               make_stream(9, "layer", dtype=dtype, head_dim=head_dim, heads=9, contiguous=True, seed=1)]  # fmt: skip
    check(streams, run(streams, backend))


def test_double_precision_stays_double():
    streams = [make_stream(7, "layer", across=True, dtype=torch.float64)]
    for actual, exact in zip(
        norm_rope(streams, backend="reference"), both(streams, torch.float64), strict=False
    ):
        torch.testing.assert_close(actual, exact)


@settings(max_examples=8)
@given(
    tokens=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    heads=st.integers(1, 20),
    batch=st.integers(1, 2),
    norm=st.sampled_from(NORMS),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_streams_match_fp64_in_the_interpreter(tokens, heads, batch, norm, bias, seed):
    streams = [
        make_stream(
            n,
            norm[0],
            across=norm[1],
            rotated=(seed + i) % 2 == 0,
            bias=bias,
            batch=batch,
            heads=heads,
            seed=seed + i,
        )
        for i, n in enumerate(tokens)
    ]
    check(streams, run(streams, "triton"))


@backends
@pytest.mark.parametrize("lanes", [(), (1, 3), (2, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("some", [False, True], ids=["all heads", "some heads"])
def test_a_fused_order_is_the_order_applied_afterwards(backend, lanes, some):
    streams = [make_stream(13), make_stream(5, rotated=False, seed=1)]
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(*lanes, 18, generator=generator).argsort(-1)
    heads = torch.tensor([[True, False, True], [False, False, True]]) if some else None
    plain = run(streams, backend)
    fused = run(streams, backend, order=order, heads=heads)
    for x, y in zip(plain[:2], fused[:2], strict=True):
        assert torch.equal(reorder_tokens(x, order, heads=heads), y)


@pytest.fixture
def exact_fp8(monkeypatch):
    """Triton's interpreter loses the carry where rounding to fp8 reaches the next power of two; torch does not."""
    from triton.runtime import interpreter

    plain = interpreter._convert_float

    def convert(values, source, target, rounding):
        if str(target) != "fp8e4nv":
            return plain(values, source, target, rounding)
        return torch.from_numpy(values.copy()).float().to(torch.float8_e4m3fn).view(torch.uint8).numpy()

    monkeypatch.setattr(interpreter, "_convert_float", convert)


@pytest.mark.usefixtures("exact_fp8")
@backends
def test_fp8_values_times_their_scale_are_the_values(backend):
    streams = [make_stream(13, "rms"), make_stream(5, None, rotated=False, seed=1)]
    streams[1].k[0, 1, 3] = 0.0
    order = torch.randperm(18, generator=torch.Generator().manual_seed(0))
    result = run(streams, backend, order=order, fp8=True)
    check(streams, run(streams, backend))
    for x, eight, scale in ((result.q, result.q8, result.q_scale), (result.k, result.k8, result.k_scale)):
        assert eight.dtype == torch.float8_e4m3fn
        assert scale.dtype == torch.float32
        largest = x.abs().amax(-1)
        torch.testing.assert_close(scale, torch.where(largest == 0, 1.0, largest / 448))
        error = (eight.float() * scale.unsqueeze(-1) - x).abs()
        # Three bits of mantissa: half a unit is 1 / 16 of the value, and 2 ** -10 where values are subnormal.
        assert (error <= x.abs() / 16 * 1.001 + 2**-10 * scale.unsqueeze(-1)).all()


def test_hunyuanvideos_rms_norm_and_rotation_are_those_of_diffusers():
    stream = make_stream(13, "rms", head_dim=16)
    module = RMSNorm(16, eps=1e-2)
    module.weight.data = stream.q_norm.weight
    cos, sin = get_1d_rotary_pos_embed(16, torch.arange(13), use_real=True)
    expected = apply_rotary_emb(module(stream.q.transpose(1, 2)), (cos, sin), sequence_dim=1).transpose(1, 2)
    rotated = Stream(stream.q, stream.k, stream.q_norm, None, Rotation(cos[:, 0::2], sin[:, 0::2]))
    torch.testing.assert_close(norm_rope([rotated]).q, expected.detach())


def test_wans_norm_across_heads_is_that_of_diffusers():
    stream = make_stream(13, "rms", across=True, rotated=False)
    attention = WanAttention(dim=192, heads=3, dim_head=64, eps=1e-2)
    attention.norm_k.weight.data = stream.k_norm.weight
    expected = attention.norm_k(stream.k.transpose(1, 2).flatten(2)).unflatten(2, (3, 64)).transpose(1, 2)
    torch.testing.assert_close(norm_rope([stream]).k, expected.detach())


def test_gradients_fall_to_an_implementation_that_has_them():
    stream = make_stream(5)
    stream.q_norm.weight.requires_grad_()
    norm_rope([stream]).q.sum().backward()
    assert stream.q_norm.weight.grad is not None
    with (
        interpreted(),
        pytest.raises(BackendError, match="weights and tables must be on cpu and need no gradient"),
    ):
        norm_rope([stream], backend="triton")


def broken(**changes):
    stream = make_stream(5)
    fields = {name: getattr(stream, name) for name in ("q", "k", "q_norm", "k_norm", "rotation")}
    return Stream(**{**fields, **changes})


REFUSED = {
    "other keys": (lambda: broken(k=torch.zeros(2, 3, 6, 64)), "q and k of a stream must share one shape"),
    "short table": (
        lambda: broken(rotation=Rotation(torch.zeros(4, 32), torch.zeros(5, 32))),
        r"cos must be \[tokens, head_dim / 2\] for tokens=5 and head_dim=64, got \[4, 32\]",
    ),
    "weight of one head across heads": (
        lambda: broken(q_norm=HeadNorm("rms", 0.0, torch.zeros(64), across_heads=True)),
        r"weight must be \[192\] with across_heads=True, got \[64\]",
    ),
    "unknown norm": (
        lambda: broken(q_norm=HeadNorm("l2", 0.0)),
        "a norm is a HeadNorm of kind 'rms' or 'layer', got",
    ),
    "no stream": (lambda: norm_rope([]), "at least one stream"),
    "streams of other heads": (
        lambda: norm_rope([make_stream(5), make_stream(5, heads=2)]),
        "streams must share batch, heads, head_dim, dtype and device",
    ),
    "short order": (
        lambda: norm_rope([make_stream(5)], order=torch.arange(4)),
        r"order must be int64 \[5\] or \[1 or 2, 1 or 3, 5\], got int64 \[4\]",
    ),
    "heads without order": (
        lambda: norm_rope([make_stream(5)], heads=torch.ones(1, 3, dtype=torch.bool)),
        "so it needs an order",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(ShapeError, match=message):
        call()


def test_triton_refuses_in_a_sentence():
    with interpreted():
        with pytest.raises(BackendError, match="head_dim must be 64 or 128, got 32"):
            norm_rope([make_stream(5, head_dim=32)], backend="triton")
        stream = make_stream(5)
        strided = Stream(stream.q.mT.contiguous().mT, stream.k, stream.q_norm, stream.k_norm, stream.rotation)
        with pytest.raises(BackendError, match=r"next to one another in memory \(stride 1\)"):
            norm_rope([strided], backend="triton")
    with pytest.raises(BackendError, match="it needs CUDA tensors, got cpu"):
        norm_rope([make_stream(5)], backend="triton")


def real_size(head_dim, kind, *, across=False, fp8=False, ordered=False):
    """Arguments of a launch for 118,800 video tokens of 24 heads after 256 of text, without memory."""
    from videosieve.kernels.norm_rope.triton import kernel_arguments

    def meta(*shape, dtype=torch.bfloat16):
        return torch.empty(shape, dtype=dtype, device="meta")

    tokens, total, heads = 118800, 119056, 24
    q = meta(1, tokens, heads, head_dim).transpose(1, 2)
    width = heads * head_dim if across else head_dim
    norm = HeadNorm(kind, 1e-6, meta(width), meta(width) if kind == "layer" else None, across)
    table = meta(tokens, head_dim, dtype=torch.float32)[:, ::2]
    outputs = [meta(1, total, heads, head_dim)] * 2 + [None] * 4
    if fp8:
        outputs[2:] = [meta(1, total, heads, head_dim, dtype=torch.float8_e4m3fn)] * 2 + [
            meta(1, heads, total, dtype=torch.float32)
        ] * 2
    places = meta(total, dtype=torch.int64) if ordered else None
    chosen = meta(1, heads, dtype=torch.bool) if ordered else None
    return kernel_arguments(Stream(q, q, norm, norm, Rotation(table, table)), outputs, places, chosen, 256)


MODELS = {
    (64, 0): [("CogVideoX", {"kind": "layer"})],
    (128, 0): [("HunyuanVideo, reordered", {"kind": "rms", "ordered": True}), ("Wan", {"kind": "rms", "across": True})],
    (64, 1): [("CogVideoX", {"kind": "layer"})],
    (128, 1): [("HunyuanVideo", {"kind": "rms", "ordered": True})],
}  # fmt: skip


@pytest.mark.parametrize("arch", [80, 90, 100])
@pytest.mark.parametrize(("row_arch", "key", "launch"), list(LAUNCHES), ids=str)
def test_every_launch_compiles_without_spills(row_arch, key, launch, arch):
    from videosieve.kernels.norm_rope.triton_kernel import norm_rope_kernel

    head_dim, fp8 = key
    if arch < row_arch:
        pytest.skip("no such launch on this architecture")
    for name, options in MODELS[key]:
        arguments = real_size(head_dim, fp8=bool(fp8), **options)
        tile = {"BT": launch.tile[0], "BH": launch.tile[1]}
        compiled = compile_for(
            norm_rope_kernel,
            {**arguments, **tile},
            arch,
            num_warps=launch.num_warps,
            num_stages=launch.num_stages,
        )
        assert compiled.spills == compiled.loop_spills == 0, name
        assert compiled.registers <= 168, name  # three blocks of four warps per multiprocessor
        assert compiled.shared <= SHARED_MEMORY[arch]
        assert "ld.global.v4" in compiled.ptx, name
