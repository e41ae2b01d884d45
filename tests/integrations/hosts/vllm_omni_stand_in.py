"""What vLLM-Omni does around an attention backend, in a few lines: look-up, merging, refusals, registration."""

import sys
from abc import ABC
from dataclasses import dataclass, field
from enum import Enum
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


def entry_points(group: str) -> list[EntryPoint]:
    """Those that the package declares; an installed copy may be older than the checkout."""
    told, found = "", []
    for line in (ROOT / "pyproject.toml").read_text().splitlines():
        if line.startswith("["):
            told = line
        elif told == f'[project.entry-points."{group}"]' and "=" in line:
            name, value = (part.strip().strip('"') for part in line.split("=", 1))
            found.append(EntryPoint(name, value, group))
    return found


@dataclass
class Metadata:
    attn_mask: Any = None
    extra: dict[str, Any] = field(default_factory=dict)
    per_forward: dict[str, Any] | None = None
    full_attn_spans: Any = None
    video_layout: Any = None


class SparseAttn:
    """The dispatcher `SPARSE_ATTN`: static < per forward < extra, None dropped, masks refused unless advertised."""

    def __init__(self, name: str, params: dict[str, Any], causal: bool = False, scale: float = 0.25) -> None:
        matches = [one for one in entry_points("vllm_omni.sparse_attn") if one.name.lower() == name.lower()]
        if not matches:
            raise ValueError(f"No sparse attention plugin named {name!r}")
        self.function = matches[0].load()
        self.static, self.causal, self.scale = params, causal, scale
        told = getattr(self.function, "capabilities", None)
        self.capabilities = told if isinstance(told, dict) else {}

    def forward(self, q: Any, k: Any, v: Any, metadata: Metadata) -> Any:
        merged = {**self.static, **(metadata.per_forward or {}), **metadata.extra}
        params = {key: value for key, value in merged.items() if value is not None}
        if metadata.attn_mask is not None and not self.capabilities.get("supports_attention_mask", False):
            raise ValueError("received an attn_mask but does not advertise 'supports_attention_mask'")
        return self.function(q, k, v, params, is_causal=self.causal, softmax_scale=self.scale)


class Host:
    """The modules that a backend and a plug-in import, with a forward context to set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.context: Any = None
        self.registered: dict[Any, str] = {}
        self.members = Enum("DiffusionAttentionBackendEnum", {"FLASH_ATTN": "flash", "SAGE_ATTN_3": "sage3"})
        base = "vllm_omni.diffusion"
        modules: dict[str, dict[str, Any]] = {
            "vllm_omni": {},
            base: {},
            f"{base}.attention": {},
            f"{base}.attention.backends": {},
            f"{base}.attention.backends.abstract": {
                "AttentionBackend": type("AttentionBackend", (ABC,), {}),
                "AttentionImpl": type("AttentionImpl", (ABC,), {}),
                "AttentionMetadata": Metadata,
            },
            f"{base}.attention.backends.registry": {
                "DiffusionAttentionBackendEnum": self.members,
                "register_diffusion_backend": self.registered.__setitem__,
            },
            f"{base}.forward_context": {
                "is_forward_context_available": lambda: self.context is not None,
                "get_forward_context": lambda: self.context,
            },
        }
        for name, content in modules.items():
            module = ModuleType(name)
            module.__dict__.update(content)
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.delitem(sys.modules, "videosieve.integrations.vllm_omni.backend", raising=False)

    def at(self, **told: Any) -> None:
        """Be within a forward of which this is known."""
        self.context = SimpleNamespace(**told)

    def build(self, prefix: str, **options: Any) -> Any:
        """A layer of whatever was put in the place of SAGE_ATTN_3."""
        module, name = self.registered[self.members["SAGE_ATTN_3"]].rsplit(".", 1)
        backend = getattr(__import__(module, fromlist=[name]), name)
        return backend.get_impl_cls()(
            num_heads=2,
            head_size=16,
            softmax_scale=0.25,
            prefix=prefix,
            qkv_layout="BSND",
            backend_kwargs=options,
        )
