"""k-means of every head: against loops in fp64, on planted clusters, and in Triton without a GPU."""

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videosieve.errors import BackendError, ShapeError
from videosieve.kernels.kmeans import IMPLEMENTATIONS, cpu, kmeans, native, reference
from videosieve.kernels.kmeans.api import draw_tokens
from videosieve.kernels.kmeans.launch import LAUNCHES
from videosieve.kernels.launch import SHARED_MEMORY
from videosieve.kernels.native_library import ELEMENTS, load, refuse_library
from videosieve.testing.factories import make_qkv
from videosieve.testing.triton_compile import compile_for
from videosieve.testing.triton_interpreter import interpreted

HERE = [one.name for one in IMPLEMENTATIONS if one.name != "native" or refuse_library() is None]
backends = pytest.mark.parametrize("backend", HERE)


def run(backend, x, clusters, **options):
    with interpreted() if backend == "triton" else contextlib.nullcontext():
        return kmeans(x, clusters, backend=backend, **options)


def make_tokens(tokens, **options):
    return make_qkv(tokens, 1, **options)[0]


def one_iteration(x, centroids):
    """Loops in fp64: labels [lanes, tokens] and means [lanes, clusters, head_dim]."""
    labels, means = [], []
    for rows, centres in zip(x.flatten(0, 1).double(), centroids.flatten(0, 1).double(), strict=True):
        label = torch.stack([(centres - row).square().sum(-1).argmin() for row in rows])
        labels.append(label)
        means.append(
            torch.stack(
                [
                    rows[label == c].mean(0) if (label == c).any() else centre
                    for c, centre in enumerate(centres)
                ]
            )
        )
    return torch.stack(labels), torch.stack(means)


def check(backend, x, clusters, **options):
    result = run(backend, x, clusters, **options)
    batch, heads, tokens, head_dim = x.shape
    assert result.labels.dtype == result.sizes.dtype == torch.int32
    assert result.labels.shape == (batch, heads, tokens)
    assert result.centroids.shape == (batch, heads, clusters, head_dim)
    counts = torch.stack([row.bincount(minlength=clusters) for row in result.labels.flatten(0, 1).long()])
    assert torch.equal(result.sizes.flatten(0, 1).long(), counts)
    return result


@backends
@pytest.mark.parametrize(("tokens", "clusters"), [(75, 7), (63, 63), (200, 70), (5, 1)])
@pytest.mark.parametrize("contiguous", [True, False], ids=["heads first", "tokens first"])
def test_one_iteration_is_the_loops(backend, tokens, clusters, contiguous):
    x = make_tokens(tokens, batch=2, heads=2, head_dim=8, contiguous=contiguous)
    start = torch.randn(2, 2, clusters, 8, generator=torch.Generator().manual_seed(1))
    result = check(backend, x, clusters, iterations=1, centroids=start)
    labels, means = one_iteration(x, start)
    assert torch.equal(result.labels.flatten(0, 1).long(), labels)
    torch.testing.assert_close(result.centroids.flatten(0, 1).double(), means, rtol=1e-5, atol=1e-5)


@backends
def test_iterations_follow_one_another_and_a_warm_start_goes_on(backend):
    x = make_tokens(75, heads=3)
    once = run(backend, x, 9, iterations=1)
    onwards = run(backend, x, 9, iterations=2, centroids=once.centroids)
    through = run(backend, x, 9, iterations=3)
    for a, b in zip(onwards, through, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(once.labels, through.labels)


@backends
def test_planted_clusters_are_found(backend):
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(16)[:5] * 10
    truth = torch.arange(200).mul(5).div(200, rounding_mode="floor").expand(2, 3, 200)
    x = centres[truth] + torch.randn(2, 3, 200, 16, generator=generator) * 0.1
    shuffle = torch.randperm(5, generator=generator)
    result = check(backend, x, 5, iterations=3)  # one start out of each fifth of the tokens
    assert torch.equal(result.labels.long(), truth)
    warm = check(backend, x, 5, iterations=1, centroids=(centres + 3)[shuffle].expand(2, 3, 5, 16))
    assert torch.equal(shuffle[warm.labels.long()], truth)
    torch.testing.assert_close(warm.centroids, centres[shuffle].expand(2, 3, 5, 16), rtol=0, atol=0.1)


@backends
def test_an_empty_cluster_keeps_its_centroid(backend):
    x = make_tokens(75, heads=2)
    start = torch.full((1, 2, 3, 16), 100.0)
    start[:, :, 1] = 0
    result = check(backend, x, 3, iterations=2, centroids=start)
    assert result.sizes.tolist() == [[[0, 75, 0]] * 2]
    assert torch.equal(result.centroids[:, :, [0, 2]], start[:, :, [0, 2]])
    torch.testing.assert_close(result.centroids[:, :, 1], x.mean(2))


@backends
def test_of_equally_near_centroids_the_first_wins(backend):
    x = make_tokens(75)
    start = torch.zeros(1, 2, 70, 16)
    result = check(backend, x, 70, iterations=1, centroids=start)
    assert not result.labels.any()


@backends
def test_heads_and_batch_elements_are_clustered_alone(backend):
    x = make_tokens(75, batch=2, heads=3)
    start = draw_tokens(x, 6, 0)
    together = run(backend, x, 6, centroids=start)
    for b in range(2):
        for h in range(3):
            at = slice(b, b + 1), slice(h, h + 1)
            alone = run(backend, x[at], 6, centroids=start[at])
            for a, whole in zip(alone, together, strict=True):
                torch.testing.assert_close(a, whole[at])


@backends
def test_the_same_call_gives_the_same_bits_and_another_seed_other_clusters(backend):
    x = make_tokens(200)
    first, second, other = (run(backend, x, 12, seed=seed) for seed in (0, 0, 1))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.labels, other.labels)


@backends
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_tokens_have_fp32_means(backend, dtype):
    if backend == "triton" and dtype == torch.bfloat16:
        pytest.skip("the interpreter multiplies bf16 matrices wrongly")
    x = make_tokens(200, dtype=dtype)
    result = check(backend, x, 12)
    for label in range(12):
        chosen = (result.labels == label).unsqueeze(-1)
        expected = (x.double() * chosen).sum(2) / chosen.sum(2)
        torch.testing.assert_close(result.centroids[:, :, label].double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(refuse_library() is not None, reason=f"{refuse_library()}")
@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
@pytest.mark.parametrize(("tokens", "clusters", "head_dim"), [(300, 75, 7), (131, 64, 96), (17, 3, 32)])
def test_every_instruction_set_finds_the_nearest(dtype, tokens, clusters, head_dim):
    """Tokens that fill a last panel in part, clusters past one stretch, values that fill no whole vector."""
    x = make_tokens(tokens, heads=2, head_dim=head_dim, dtype=dtype, contiguous=False)
    start = torch.randn(1, 2, clusters, head_dim, generator=torch.Generator().manual_seed(1))
    labels, means = one_iteration(x, start)
    for name in load().instruction_sets:
        result = native.iterate(x, start, 1, name)
        assert torch.equal(result[0].flatten(0, 1).long(), labels)
        torch.testing.assert_close(result[1].flatten(0, 1).double(), means, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(refuse_library() is not None, reason=f"{refuse_library()}")
def test_the_number_of_threads_changes_no_bit(monkeypatch):
    x = make_tokens(3000, heads=3, head_dim=64)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        results.append(kmeans(x, 90, iterations=3, backend="native"))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


@pytest.mark.skipif(refuse_library() is not None, reason=f"{refuse_library()}")
def test_tokens_without_a_number_go_to_the_first_cluster():
    x = make_tokens(40)
    x[:, :, 3] = torch.nan
    for name in load().instruction_sets:
        labels, means, *_ = native.iterate(x, draw_tokens(make_tokens(40), 5, 0), 1, name)
        assert (labels[:, :, 3] == 0).all()
        assert means[:, :, 1:].isfinite().all()


def test_double_precision_stays_double():
    x = make_tokens(75, dtype=torch.float64)
    labels, means = one_iteration(x, draw_tokens(x, 7, 0))
    for backend in ("cpu", "reference"):
        result = check(backend, x, 7, iterations=1)
        assert torch.equal(result.labels.flatten(0, 1).long(), labels)
        torch.testing.assert_close(result.centroids.flatten(0, 1), means)


@settings(max_examples=5)
@given(data=st.data(), tokens=st.integers(1, 90), head_dim=st.integers(1, 128), seed=st.integers(0, 99))
def test_no_token_has_a_nearer_centroid(data, tokens, head_dim, seed):
    clusters = data.draw(st.integers(1, tokens))
    x = make_tokens(tokens, head_dim=head_dim, generator=torch.Generator().manual_seed(seed))
    start = draw_tokens(x, clusters, seed)
    distances = torch.cdist(x.double(), start.double())
    for backend in ("triton", "cpu", "reference"):
        labels = check(backend, x, clusters, iterations=1, centroids=start).labels.long().unsqueeze(-1)
        excess = distances.gather(-1, labels).squeeze(-1) - distances.amin(-1)
        assert excess.max() < 1e-3 * max(1.0, float(distances.max()))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_stretches_of_any_length_give_the_same(backend, monkeypatch):
    x = make_tokens(200)
    whole = run(backend, x, 12)
    for module, name, value in ((cpu, "DISTANCE_BYTES", 12 * 4 * 7), (reference, "STRETCH", 7)):
        monkeypatch.setattr(module, name, value)
    parts = run(backend, x, 12)
    assert torch.equal(whole.labels, parts.labels)
    torch.testing.assert_close(whole.centroids, parts.centroids)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_memory_stays_far_below_tokens_times_clusters(backend):
    """20,000 tokens × 1,000 clusters would be 80 MB of distances."""
    x = torch.randn(1, 1, 20000, 16, generator=torch.Generator().manual_seed(0))
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes.extend(
                t.numel() for t in (out if isinstance(out, tuple) else (out,)) if isinstance(t, torch.Tensor)
            )
            return out

    with Watch():
        kmeans(x, 1000, iterations=1, backend=backend)
    assert max(sizes) <= 1000 * reference.STRETCH


REFUSED = {
    "more clusters than tokens": ({"clusters": 76}, r"at least 1 and at most 75, got clusters=76"),
    "no cluster": ({"clusters": 0}, "got clusters=0"),
    "no iteration": ({"clusters": 7, "iterations": 0}, "rounds, at least 1 and at most 1000, got iterations=0"),
    "other centroids": (
        {"clusters": 7, "centroids": torch.zeros(1, 2, 6, 16)},
        r"centroids must be \[1, 2, 7, 16\] on cpu, got \[1, 2, 6, 16\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    options, message = REFUSED[name]
    with pytest.raises(ShapeError, match=message):
        kmeans(make_tokens(75), **options)


def test_triton_refuses_in_a_sentence():
    with interpreted(), pytest.raises(BackendError, match="it needs float32 centroids"):
        kmeans(make_tokens(75, dtype=torch.float64), 7, backend="triton")


@pytest.mark.parametrize("arch", [80, 90, 100])
@pytest.mark.parametrize("key", sorted({key for _, key, _ in LAUNCHES}), ids=str)
def test_every_launch_compiles_without_spills(key, arch):
    launch = LAUNCHES.find(arch, *key)
    from videosieve.kernels.kmeans.triton import prepare_assign, prepare_update
    from videosieve.kernels.kmeans.triton_kernel import assign_kernel, update_kernel

    def meta(*shape, dtype=torch.float32):
        return torch.empty(shape, dtype=dtype, device="meta")

    dtype = torch.bfloat16
    x = meta(1, 118800, 24, key[0], dtype=dtype).transpose(1, 2)
    centroids, tokens = meta(1, 24, 1000, key[0]), meta(1, 24, 118800, dtype=torch.int64)
    for kernel, arguments in (
        (assign_kernel, prepare_assign(x, centroids, tokens.int(), launch)),
        (update_kernel, prepare_update(x, tokens, centroids[..., 0].int(), centroids, centroids, launch)),
    ):
        compiled = compile_for(
            kernel, arguments, arch, num_warps=launch.num_warps, num_stages=launch.num_stages
        )
        assert compiled.spills == compiled.loop_spills == 0
        assert compiled.shared <= SHARED_MEMORY[arch]
        assert compiled.wgmma == (arch == 90 and kernel is assign_kernel)
