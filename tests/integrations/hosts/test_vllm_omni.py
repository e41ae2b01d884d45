"""vLLM-Omni's two doors, against a stand-in of the host: what arrives at `attend_bshd`, and what never does."""

import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from integrations.hosts.vllm_omni_stand_in import Host, Metadata, SparseAttn, entry_points

from videosieve import IntegrationError, RecipeError
from videosieve.integrations.vllm_omni import params
from videosieve.integrations.vllm_omni.register import BACKEND, register

GRID = (3, 4, 6)


def make(tokens: int = 72, heads: int = 2, keys: int | None = None, kv_heads: int | None = None) -> Any:
    torch.manual_seed(0)
    shape = (1, keys or tokens, kv_heads or heads, 16)
    return torch.randn(1, tokens, heads, 16), torch.randn(shape), torch.randn(shape)


def dense(q: Any, k: Any, v: Any, mask: Any = None) -> torch.Tensor:
    heads = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(
        *heads, attn_mask=mask, enable_gqa=q.shape[2] != k.shape[2]
    ).transpose(1, 2)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """`attend_bshd`, answering densely and noting what it was asked."""
    seen: list[dict[str, Any]] = []

    def attend_bshd(
        q: Any, k: Any, v: Any, asked: dict[str, Any], *, softmax_scale: float | None = None
    ) -> torch.Tensor:
        seen.append({**asked, "tokens": q.shape[1], "heads": k.shape[2], "scale": softmax_scale})
        return dense(q, k, v)

    plain = ModuleType("videosieve.integrations.plain")
    plain.attend_bshd = attend_bshd  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "videosieve.integrations.plain", plain)
    return seen


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    found = Host(monkeypatch)
    monkeypatch.setenv("VIDEOSIEVE_VLLM_OMNI", "SAGE_ATTN_3")
    for _ in range(2):  # every process calls it, some twice
        register()
    return found


def test_every_entry_point_loads_and_says_that_it_takes_no_mask():
    found = entry_points("vllm_omni.sparse_attn")
    assert "videosieve_svg" in [one.name for one in found]
    for one in found:
        assert one.load().__name__ == one.name
        assert one.load().capabilities == {
            "supports_attention_mask": False,
            "supports_full_attn_spans": False,
        }
    assert entry_points("vllm_omni.general_plugins")[0].load() is register


def test_static_and_per_forward_parameters_arrive_together(calls):
    door = SparseAttn("videosieve_svg", {"density": 0.3, "dense_steps": 0.25, "min_tokens": 0})
    told = {
        "denoise_step_idx": torch.tensor([2]),
        "total_denoise_steps": torch.tensor([30]),
        "latent_shape": torch.tensor([[3, 8, 12]]),
        "patch_size": torch.tensor([[1, 2, 2]]),
        "total_latent_frames": None,
    }
    q, k, v = make()
    output = door.forward(q, k, v, Metadata(per_forward=told, extra={"kv_cache_dtype": "fp8"}))
    assert calls == [
        {"recipe": {"method": "svg", "dense_layers": 0, "density": 0.3, "dense_steps": 0.25, "min_tokens": 0},
         "step": 2, "steps": 30, "grid": GRID, "tokens": 72, "heads": 2, "scale": 0.25}
    ]  # fmt: skip
    torch.testing.assert_close(output, dense(q, k, v))


def test_grouped_keys_and_the_hosts_scale_are_honoured(calls):
    q, k, v = make(heads=4, kv_heads=2)
    output = SparseAttn("videosieve_xattention", {"dense_steps": 0}, scale=0.5).forward(q, k, v, Metadata())
    assert (calls[0]["heads"], calls[0]["scale"]) == (4, 0.5)
    torch.testing.assert_close(output, dense(q, k, v))


def test_a_call_without_a_step_as_in_a_warm_up_is_dense(calls, caplog, monkeypatch):
    monkeypatch.setattr(params, "_SAID", set())
    q, k, v = make()
    with caplog.at_level(logging.WARNING, "videosieve"):
        output = SparseAttn("videosieve_svg", {"dense_steps": 0.25}).forward(q, k, v, Metadata())
    torch.testing.assert_close(output, dense(q, k, v))
    assert calls == []
    assert "the host does not say the step" in caplog.text


def test_cross_attention_masks_and_causal_layers_do_not_come_through(calls):
    q, k, v = make(keys=20)
    torch.testing.assert_close(SparseAttn("videosieve_svg", {}).forward(q, k, v, Metadata()), dense(q, k, v))
    assert calls == []
    q, k, v = make()
    with pytest.raises(ValueError, match="does not advertise"):
        SparseAttn("videosieve_svg", {}).forward(q, k, v, Metadata(attn_mask=torch.ones(1, 72)))
    with pytest.raises(IntegrationError, match="causal; give its role a dense backend"):
        SparseAttn("videosieve_svg", {}, causal=True).forward(q, k, v, Metadata())


def test_a_key_that_nobody_knows_is_left_out_and_said_once(calls, caplog, monkeypatch):
    monkeypatch.setattr(params, "_SAID", set())
    q, k, v = make()
    with caplog.at_level(logging.WARNING, "videosieve"):
        for _ in range(2):
            SparseAttn("videosieve_svg", {"topk": 3, "dense_steps": 0}).forward(q, k, v, Metadata())
    assert calls[0]["recipe"] == {"method": "svg", "dense_layers": 0, "dense_steps": 0}
    assert [record.message for record in caplog.records] == [
        "vLLM-Omni handed over 'topk', which method 'svg' does not have; it is left out"
    ]


def test_nothing_is_registered_unless_the_environment_asks(monkeypatch):
    host = Host(monkeypatch)
    monkeypatch.delenv("VIDEOSIEVE_VLLM_OMNI", raising=False)
    register()
    assert host.registered == {}
    monkeypatch.setenv("VIDEOSIEVE_VLLM_OMNI", "SAGE")
    with pytest.raises(IntegrationError, match="FLASH_ATTN, SAGE_ATTN_3; got 'SAGE'"):
        register()


def test_a_backend_knows_layer_step_branch_and_video(host, calls):
    assert host.registered == {host.members["SAGE_ATTN_3"]: BACKEND}
    layer = host.build("transformer.blocks.7.attn1", method="adaspa", density=0.3, dense_layers=1, layers=30)
    host.at(denoise_step_idx=4, total_denoise_steps=20, cfg_branch="uncond")
    q, k, v = make(tokens=90)
    layout = SimpleNamespace(prefix_len=8, latent_grid=GRID, used_len=None, video_spans=())
    mask = torch.arange(90)[None] < 80
    output = layer.forward(q, k, v, Metadata(attn_mask=mask, video_layout=layout))
    assert calls == [
        {"recipe": {"method": "adaspa", "density": 0.3, "dense_layers": 1}, "layers": 30, "layer": 7, "step": 4,
         "steps": 20, "branch": "uncond", "grid": GRID, "prefix": 8, "tokens": 80, "heads": 2, "scale": 0.25}
    ]  # fmt: skip
    torch.testing.assert_close(output[:, :80], dense(q[:, :80], k[:, :80], v[:, :80]))
    assert not output[:, 80:].any()


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (Metadata(attn_mask=torch.ones(1, 72, dtype=torch.bool)), "a mask without a video layout"),
        (
            Metadata(video_layout=SimpleNamespace(prefix_len=0, latent_grid=GRID, video_spans=(1, 2))),
            "several videos",
        ),
        (
            Metadata(video_layout=SimpleNamespace(prefix_len=None, latent_grid=None, video_spans=())),
            "without a grid",
        ),
        (
            Metadata(video_layout=SimpleNamespace(prefix_len=0, latent_grid=(3, 4, 5), video_spans=())),
            "60 tokens and the sequence 72",
        ),
    ],
)
def test_what_a_layout_does_not_describe_stays_dense_with_the_reason(
    host, calls, caplog, monkeypatch, metadata, reason
):
    monkeypatch.setattr(params, "_SAID", set())
    q, k, v = make()
    with caplog.at_level(logging.WARNING, "videosieve"):
        output = host.build("blocks.0.attn1").forward(q, k, v, metadata)
    assert calls == []
    assert reason in caplog.text
    torch.testing.assert_close(output, dense(q, k, v))


def test_a_misspelt_option_or_a_value_out_of_range_ends_at_set_up(host):
    with pytest.raises(IntegrationError, match="method 'svg' has no 'densty'"):
        host.build("blocks.0.attn1", densty=0.3)
    with pytest.raises(RecipeError, match="density"):
        host.build("blocks.0.attn1", density=3.0)


def test_density_one_is_dense_attention_through_both_doors(host):
    pytest.importorskip("videosieve.integrations.plain")
    q, k, v = make()
    options = {"density": 1.0, "min_tokens": 0, "dense_steps": 0, "dense_layers": 0}
    told = {"latent_shape": (3, 8, 12), "patch_size": (1, 2, 2)}
    door = SparseAttn("videosieve_svg", options)
    torch.testing.assert_close(
        door.forward(q, k, v, Metadata(per_forward=told)), dense(q, k, v), rtol=0, atol=2e-5
    )
    layout = SimpleNamespace(prefix_len=0, latent_grid=GRID, video_spans=())
    output = host.build("blocks.0.attn1", **options).forward(q, k, v, Metadata(video_layout=layout))
    torch.testing.assert_close(output, dense(q, k, v), rtol=0, atol=2e-5)
