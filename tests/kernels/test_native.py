"""The native CPU kernel beyond the matrix that every implementation of block-sparse attention shares."""

import ctypes
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videosieve.errors import BackendError
from videosieve.kernels import block_sparse_attention, native_attention, native_library
from videosieve.kernels.block_sparse_attention import native
from videosieve.kernels.native_library import ELEMENTS, SWITCH, load, refuse_library, refuse_tensors
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.testing.factories import band_mask, make_qkv, random_mask, random_ragged_mask
from videosieve.testing.oracles import pairs_oracle
from videosieve.testing.tolerances import assert_attention

if (reason := refuse_library()) is not None:
    pytest.skip(f"the native kernels cannot run here: {reason}", allow_module_level=True)

SETS = load().instruction_sets
HEAD_DIMS = (1, 7, 32, 64, 96, 128, 256)


def attend(q, k, v, mask, scale=None, instruction_set=None):
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    assert native.refuse(q, k, v, mask, scale) is None
    return native.block_sparse_attention(q, k, v, mask, scale, instruction_set=instruction_set)


def check(q, k, v, mask, scale=None, instruction_set=None):
    actual = attend(q, k, v, mask, scale, instruction_set)
    assert_attention(actual, q, k, v, pairs_oracle(mask), q.shape[-1] ** -0.5 if scale is None else scale)
    return actual


def exp2(x, instruction_set):
    y = torch.full_like(x, torch.nan)
    function = load().handle.videosieve_exp2
    function.restype = ctypes.c_char_p
    pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (x, y))
    refusal = function(*pointers, ctypes.c_int64(len(x)), ctypes.c_int32(SETS.index(instruction_set)))
    assert refusal is None
    return y


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
@pytest.mark.parametrize("head_dim", HEAD_DIMS)
def test_every_instruction_set_element_and_head_dim_matches_fp64(instruction_set, dtype, head_dim):
    """141 queries: full and narrow panels, a lane that is not used; 333 keys: more than two chunks."""
    q, k, v = make_qkv(141, 333, heads=2, head_dim=head_dim, dtype=dtype)
    check(q, k, v, random_mask(141, 333, BlockSize(48, 16), 0.7, heads=2), None, instruction_set)
    check(q, k, v, random_ragged_mask(141, 333, (5, 40), 0.5, heads=2), 0.3, instruction_set)


@pytest.mark.parametrize("instruction_set", SETS)
def test_exp2_is_within_two_units_in_the_last_place(instruction_set):
    x = torch.cat([torch.linspace(-126, 127.4, 1 << 18), torch.linspace(-1, 0, 1 << 16)])
    exact = x.double().exp2()
    error = ((exp2(x, instruction_set) - exact) / exact).abs().max()
    assert error < 2 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("instruction_set", SETS)
def test_exp2_at_the_edges(instruction_set):
    infinity = torch.inf
    x = torch.tensor(
        [0, -0.0, 1, -1, -126, -150, -1e30, -infinity, 127, 128, 1e30, infinity] + [torch.nan] * 4
    )
    least = 2.0**-126
    expected = torch.tensor([1, 1, 2, 0.5, least, 0, 0, 0, 2.0**127, *[infinity] * 3] + [torch.nan] * 4)
    torch.testing.assert_close(exp2(x, instruction_set), expected, rtol=0, atol=0, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(
    queries=st.integers(1, 300),
    keys=st.integers(1, 500),
    head_dim=st.sampled_from([1, 8, 20, 64]),
    sides=st.tuples(st.sampled_from([1, 16, 48, 64, 200]), st.sampled_from([1, 7, 32, 128])),
    density=st.sampled_from([0.05, 0.3, 0.9, 1.0]),
    ragged=st.booleans(),
    instruction_set=st.sampled_from(SETS),
    dtype=st.sampled_from(list(ELEMENTS)),
    spread=st.sampled_from([0.1, 1.0, 8.0]),
    seed=st.integers(0, 99),
)
def test_any_mask_of_any_size_matches_fp64(
    queries, keys, head_dim, sides, density, ragged, instruction_set, dtype, spread, seed
):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = make_qkv(queries, keys, heads=2, head_dim=head_dim, dtype=dtype, generator=generator)
    if ragged:
        blocks = (min(sides[0], queries), min(sides[1], keys))
        mask = random_ragged_mask(queries, keys, blocks, density, heads=2, seed=seed)
    else:
        mask = random_mask(queries, keys, BlockSize(*sides), density, heads=2, generator=generator)
    check(q * spread, k, v, mask, None, instruction_set)


def views(x):
    """The same values [1, heads, tokens, head_dim] at other places in memory, among NaN."""
    batch, heads, tokens, head_dim = x.shape
    shapes = {
        "tokens first": ((batch, tokens, heads, head_dim), (0, 2, 1, 3), 0),
        "one of three": ((batch, tokens, heads, 3, head_dim), (0, 2, 1, 3, 4), 0),
        "off by one value": ((batch, heads, tokens, head_dim + 1), (0, 1, 2, 3), 1),
        "every second token": ((batch, heads, tokens, 2, head_dim), (0, 1, 2, 3, 4), 0),
    }
    for name, (shape, axes, offset) in shapes.items():
        view = torch.full(shape, torch.nan, dtype=x.dtype).permute(axes)
        view = view[..., 1, :] if name == "one of three" else view
        view = view[:, :, :, 0] if name == "every second token" else view
        view = view[..., offset:]
        view.copy_(x)
        yield name, view


@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
def test_any_strides_give_the_same_bits(dtype):
    tensors = make_qkv(75, 150, heads=3, head_dim=40, dtype=dtype, contiguous=True)
    mask = random_mask(75, 150, BlockSize(16, 32), 0.5, heads=3)
    output, lse = check(*tensors, mask)
    for (name, q), (_, k), (_, v) in zip(*map(views, tensors), strict=True):
        for other, same in zip(attend(q, k, v, mask), (output, lse), strict=True):
            assert torch.equal(other, same), name


def test_shared_and_permuted_axes_are_read_where_they_lie():
    q, k, v = make_qkv(75, 75, heads=3, head_dim=32)
    q, k, v = q.expand(2, 3, 75, 32), k[:, :1].expand(2, 3, 75, 32), v.expand(2, 3, 75, 32)
    keep = torch.rand(5, 5, 3, 2, generator=torch.Generator().manual_seed(0)) < 0.5
    for strided in (keep.permute(3, 2, 0, 1), keep[:, :1, :1, :1].permute(3, 2, 0, 1).expand(1, 1, 5, 5)):
        output, _ = check(q, k, v, BlockMask(strided.contiguous(), BlockSize(16, 16), 75))
        assert torch.equal(attend(q, k, v, BlockMask(strided, BlockSize(16, 16), 75))[0], output)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
@pytest.mark.parametrize("ordered", [("query",), ("key",), ("query", "key")], ids="+".join)
def test_orders_followed_in_place_give_the_bits_of_moving_the_tokens(instruction_set, dtype, ordered):
    """150 and 333 tokens: partial blocks, tiles that begin inside a row of blocks; one head keeps its order."""
    q, k, v = make_qkv(150, 333, batch=2, heads=3, head_dim=20, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    counts = {"query": 150, "key": 333}
    orders = {name: torch.rand(2, 3, counts[name], generator=generator).argsort(-1) for name in ordered}
    for name, order in orders.items():
        order[:, 1] = torch.arange(counts[name])
    mask = random_mask(150, 333, BlockSize(140, 16), 0.5, heads=3, generator=generator)
    at = {name: order.unsqueeze(-1) for name, order in orders.items()}
    moved = [
        x.gather(2, at[name].expand(2, 3, -1, 20)) if name in at else x
        for x, name in ((q, "query"), (k, "key"), (v, "key"))
    ]
    expected = native.block_sparse_attention(*moved, mask, 0.3, instruction_set=instruction_set)
    if "query" in at:
        back = orders["query"].argsort(-1)
        expected = expected[0].gather(2, back.unsqueeze(-1).expand(2, 3, -1, 20)), expected[1].gather(2, back)
    given = (orders.get("query"), orders.get("key"))
    actual = native.block_sparse_attention(q, k, v, mask, 0.3, *given, instruction_set=instruction_set)
    for one, other in zip(actual, expected, strict=True):
        assert torch.equal(one, other)


def test_one_order_and_strided_orders_serve_all_heads():
    q, k, v = make_qkv(75, 75, heads=3, head_dim=20)
    mask = random_mask(75, 75, BlockSize(16, 16), 0.5)
    order = torch.randperm(75, generator=torch.Generator().manual_seed(0))
    expected = native.block_sparse_attention(q, k, v, mask, 0.3, *[order.expand(1, 3, 75).contiguous()] * 2)
    strided = torch.stack([order, order], -1)[:, 0]
    for same in (order, strided, order[None, None], order.expand(1, 3, 75)):
        for one, other in zip(
            native.block_sparse_attention(q, k, v, mask, 0.3, same, same), expected, strict=True
        ):
            assert torch.equal(one, other)
    output, lse = block_sparse_attention(q, k, v, mask, scale=0.3, query_order=order, key_order=order)
    assert torch.equal(output, expected[0])
    assert torch.equal(lse, expected[1])


@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
def test_keys_that_are_not_kept_are_never_read(dtype):
    q, k, v = make_qkv(75, 75, head_dim=32, dtype=dtype)
    mask = band_mask(75, BlockSize(16, 16), 0)
    output, lse = check(q, k, v, mask)
    for block in range(5):
        tokens = slice(block * 16, min(block * 16 + 16, 75))
        others = torch.ones(75, dtype=torch.bool)
        others[tokens] = False
        for x in (poisoned := [k.clone(), v.clone()]):
            x[:, :, others] = torch.nan
        again = attend(q, *poisoned, mask)
        assert torch.equal(again[0][:, :, tokens], output[:, :, tokens])
        assert torch.equal(again[1][:, :, tokens], lse[:, :, tokens])


@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
def test_nothing_is_written_beside_the_output(dtype, monkeypatch):
    q, k, v = make_qkv(75, 75, heads=3, head_dim=20, dtype=dtype)
    guards = []

    def guarded(shape, dtype):
        count = torch.Size(shape).numel()
        memory = torch.full((count + 128,), 42.0, dtype=dtype)
        guards.append((memory[:64], memory[-64:]))
        return memory[64:-64].view(shape)

    monkeypatch.setattr(torch, "empty", guarded)
    attend(q, k, v, random_mask(75, 75, BlockSize(16, 16), 0.5, heads=3))
    assert len(guards) == 2
    assert all(bool((guard == 42.0).all()) for pair in guards for guard in pair)


@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
def test_the_number_of_threads_changes_no_bit(dtype, monkeypatch):
    q, k, v = make_qkv(400, 900, heads=4, head_dim=64, dtype=dtype)
    mask = random_ragged_mask(400, 900, (11, 17), 0.5, heads=4)
    results = []
    for threads in (1, 2, 3, 8):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        results.append(attend(q, k, v, mask))
    for output, lse in results[1:]:
        assert torch.equal(output, results[0][0])
        assert torch.equal(lse, results[0][1])


def test_calls_from_several_python_threads_do_not_meet():
    calls = []
    for seed in range(8):
        q, k, v = make_qkv(200, 200, head_dim=32, generator=torch.Generator().manual_seed(seed))
        calls.append((q, k, v, random_mask(200, 200, BlockSize(32, 32), 0.5)))
    expected = [attend(*call) for call in calls]
    with ThreadPoolExecutor(4) as pool:
        actual = list(pool.map(lambda call: attend(*call), calls))
    for one, other in zip(actual, expected, strict=True):
        assert torch.equal(one[0], other[0])


@pytest.mark.parametrize("instruction_set", SETS)
def test_infinities_and_nan_stay_in_their_rows(instruction_set):
    q, k, v = make_qkv(20, 300, heads=1, head_dim=32)
    q[..., 3, :] = torch.nan
    q[..., 5, :] = 1e38
    output, lse = attend(q, k, v, BlockMask.dense(20, BlockSize(16, 16), keys=300), 1.0, instruction_set)
    ill = torch.zeros(20, dtype=torch.bool)
    ill[[3, 5]] = True
    assert output[0, 0, ill].isnan().all()
    assert lse[0, 0, 3].isnan()
    assert output[0, 0, ~ill].isfinite().all()
    assert lse[0, 0, ~ill].isfinite().all()


def test_scale_may_be_negative_or_zero():
    q, k, v = make_qkv(63, 63, head_dim=32)
    for scale in (-0.3, 0.0, 3.0):
        check(q, k, v, band_mask(63, BlockSize(16, 16), 16), scale)


def misaligned(x):
    memory = torch.frombuffer(bytearray(x.numel() * 4 + 1), dtype=torch.float32, offset=1)
    return memory.view(x.shape).copy_(x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda q, k, v: (q.double(), k.double(), v.double()),
            "needs fp32, bf16 or fp16, .* got torch.float64",
        ),
        (lambda q, k, v: (q.mT.contiguous().mT, k, v), "head_dim contiguous in memory, got stride 63"),
        (lambda q, k, v: (x.repeat(1, 1, 1, 20) for x in (q, k, v)), "a head_dim of at most 256, got 320"),
        (lambda q, k, v: (q.requires_grad_(), k, v), "no backward; detach"),
    ],
)
def test_what_it_cannot_read_is_refused_with_the_reason(change, message):
    q, k, v = change(*make_qkv(63, 63))
    with pytest.raises(BackendError, match=f"native cannot run this block_sparse_attention: .*{message}"):
        block_sparse_attention(q, k, v, band_mask(63, BlockSize(16, 16), 16), backend="native")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda q, k, v: (q, k.half(), v.half()),
            "the same for all tensors; got torch.float32 and torch.float16",
        ),
        (lambda q, k, v: (q, k, misaligned(v)), "aligned to their 4-byte values"),
        (lambda q, k, v: (q[:, :0], k, v), r"at least one value in every tensor, got \[1, 0, 63, 16\]"),
        (lambda q, k, v: (q, k.to("meta"), v), "needs CPU tensors, got meta"),
        (lambda q, k, v: (torch._neg_view(q), k, v), "a pending negation"),
    ],
)
def test_what_ops_refuse_is_refused_once_more_in_front_of_the_library(change, message):
    assert re.search(message, refuse_tensors(*change(*make_qkv(63, 63))) or "")


def raw_call(q, k, v, mask, output, lse):
    """What `native` hands to the library, for tests that spoil it."""
    caught = []

    class Recorder:
        def call(self, _function, call, _instruction_set):
            caught.append(call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_attention, "load", Recorder)
        native.block_sparse_attention(q, k, v, mask, 1.0)
    caught[0].output, caught[0].lse = output.data_ptr(), lse.data_ptr()
    return caught[0]


def set_deep(structure, path, value):
    *parents, name = path.split(".")
    for parent in parents:
        structure = getattr(structure, parent)
    setattr(structure, name, value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("heads", 0, "must be at least 1"),
        ("queries", -5, "must be at least 1"),
        ("keys", 0, "must be at least 1"),
        ("head_dim", 0, "head_dim must be 1 to 256"),
        ("head_dim", 257, "head_dim must be 1 to 256"),
        ("element", 7, "element must be"),
        ("threads", 0, "threads must be at least 1"),
        ("k.data", None, "no memory"),
        ("k.token_stride", -16, "strides must not be negative"),
        ("q.data", 1, "not aligned"),
        ("mask.rows", 0, "at least one row"),
        ("mask.keep", None, "must have memory"),
        ("mask.keep_strides", (ctypes.c_int64 * 4)(0, 0, -1, 1), "strides must not be negative"),
        ("mask.key_offset_strides", (ctypes.c_int64 * 2)(-1, 0), "strides must not be negative"),
        ("mask.rows", 3, "begin with 0 and end with the number of tokens"),
        ("keys", 62, "begin with 0 and end with the number of tokens"),
        ("mask.key_offsets", [0, 32, 16, 48, 63], "must not fall"),
        ("mask.query_offsets", [0, 16, 32, 48, 64], "begin with 0 and end"),
        ("mask.query_offsets", [1, 16, 32, 48, 63], "begin with 0 and end"),
        ("mask.query_order", [*range(62), 63], "must name tokens that there are"),
        ("mask.query_order", [*range(62), 61], "an order of queries must name every token once"),
        ("mask.key_order", [-1, *range(62)], "must name tokens that there are"),
    ],
)
def test_the_library_itself_refuses_before_it_touches_memory(path, value, message):
    q, k, v = make_qkv(63, 63)
    mask = band_mask(63, BlockSize(16, 16), 16)
    output, lse = torch.full(q.shape, 42.0), torch.full(q.shape[:3], 42.0)
    call = raw_call(q, k, v, mask, output, lse)
    offsets = torch.tensor([0, 16, 32, 48, 63])
    call.mask.query_offsets = call.mask.key_offsets = offsets.data_ptr()
    if isinstance(value, list):
        spoiled = torch.tensor(value)
        value = spoiled.data_ptr()
    set_deep(call, path, value)
    with pytest.raises(BackendError, match=f"the native kernel refused attention: .*{message}"):
        load().call("attention", call)
    assert bool((output == 42.0).all())
    assert bool((lse == 42.0).all())


def test_the_environment_turns_it_off(monkeypatch):
    monkeypatch.setenv(SWITCH, "off")
    q, k, v = make_qkv(63, 63)
    mask = band_mask(63, BlockSize(16, 16), 16)
    with pytest.raises(BackendError, match=f"the environment variable {SWITCH} turns it off. .* can: .*cpu"):
        block_sparse_attention(q, k, v, mask, backend="native")
    block_sparse_attention(q, k, v, mask)


def test_a_library_that_was_not_built_or_does_not_fit_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(native_library, "PATH", tmp_path / "videosieve_native.so")
    assert "it was not built: videosieve_native.so is missing; install a C++17 compiler" in refuse_library()
    with pytest.raises(BackendError, match="it was not built"):
        load()
    other_machine = tmp_path / "other.so"
    header = bytearray(
        (native_library.Path(native_library.__file__).parents[1] / "native")
        .joinpath("videosieve_native.so")
        .read_bytes()
    )
    header[18:20] = b"\xf3\x00"  # e_machine: RISC-V
    other_machine.write_bytes(header)
    monkeypatch.setattr(native_library, "PATH", other_machine)
    assert "cannot be loaded here, it may be built for another machine" in refuse_library()


def test_a_library_with_another_interface_is_a_sentence(monkeypatch):
    native_library._load.cache_clear()
    monkeypatch.setattr(native_library, "ABI", 999)
    assert "this videosieve needs 999; install videosieve again" in refuse_library()
    native_library._load.cache_clear()
