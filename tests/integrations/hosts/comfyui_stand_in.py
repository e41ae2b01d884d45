"""What ComfyUI does around an attention call and a sampling run, in a few lines; and the node package loaded."""

import copy
import functools
import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

PACKAGE = Path(__file__).parents[3] / "comfyui"


class Container:
    """An input with a single owner."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor: Tensor | None = tensor

    def take(self) -> Tensor:
        tensor, self.tensor = self.tensor, None
        assert tensor is not None, "already consumed"
        return tensor


def wrap_attn(func: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Tensor:
        contained = isinstance(args[0], Container)
        remove = "_inside_attn_wrapper" not in kwargs
        try:
            if remove:
                kwargs["_inside_attn_wrapper"] = True
                options = kwargs.get("transformer_options")
                if options is not None and "optimized_attention_override" in options:
                    override = options["optimized_attention_override"]
                    if contained:
                        if hasattr(override, "container_function"):
                            return override.container_function(*args, **kwargs)
                        args = tuple(one.take() for one in args[:3]) + args[3:]
                    return override(func, *args, **kwargs)
            if contained:
                args = tuple(one.take() for one in args[:3]) + args[3:]
            return func(*args, **kwargs)
        finally:
            if remove:
                del kwargs["_inside_attn_wrapper"]

    return wrapper


@wrap_attn
def attention(
    q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None, attn_precision: Any = None,
    skip_reshape: bool = False, skip_output_reshape: bool = False, **kwargs: Any,
) -> Tensor:  # fmt: skip
    del attn_precision
    if not skip_reshape:
        side = q.shape[-1] // heads
        q, k, v = (x.unflatten(-1, (-1, side)).transpose(1, 2) for x in (q, k, v))
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, scale=kwargs.get("scale"), enable_gqa=kwargs.get("enable_gqa", False)
    )
    return out if skip_output_reshape else out.transpose(1, 2).flatten(2)


class Sampling:
    def percent_to_sigma(self, percent: float) -> float:
        return 1.0 - percent


class Wan:
    """A diffusion model of two blocks of self- and cross-attention, which publishes its grid."""

    patch_size = (1, 2, 2)

    def __init__(self, publishes: bool = True, kv_heads: int = 2) -> None:
        self.publishes, self.kv_heads = publishes, kv_heads

    def __call__(
        self, latents: Tensor, timestep: Tensor, context: Tensor, transformer_options: Any
    ) -> Tensor:
        wrappers = transformer_options["wrappers"].get("diffusion_model", {})
        run: Any = self.forward
        for wrapper in [one for ones in wrappers.values() for one in ones]:
            inner = run

            class Executor:
                class_obj = self

                def __call__(self, *args: Any, _inner: Any = inner, **kwargs: Any) -> Any:
                    return _inner(*args, **kwargs)

            run = functools.partial(wrapper, Executor())
        return run(latents, timestep, context, transformer_options)

    def forward(self, latents: Tensor, timestep: Tensor, context: Tensor, transformer_options: Any) -> Tensor:
        del timestep
        frames, height, width = latents.shape[2], latents.shape[3] // 2, latents.shape[4] // 2
        if self.publishes:
            transformer_options["grid_sizes"] = torch.Size((frames, height, width))
        x = latents.reshape(latents.shape[0], latents.shape[1], frames, height, 2, width, 2)
        x = x.permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(1, 3)  # [batch, tokens, 32]
        for block in range(2):
            transformer_options["block_index"], transformer_options["total_blocks"] = block, 2
            keys = x[..., : 16 * self.kv_heads]
            x = x + attention(
                x, keys, keys.roll(1, 1), 2, transformer_options=transformer_options,
                enable_gqa=self.kv_heads != 2,
            )  # fmt: skip
            x = x + attention(x, context, context, heads=2, transformer_options=transformer_options)
        return x.mean(-1)


class Patcher:
    """A model with options, wrappers and callbacks, and a sampler that goes through them."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.model_options: dict[str, Any] = {"transformer_options": {"wrappers": {}}}
        self.callbacks: dict[str, list[Any]] = {}

    def clone(self) -> "Patcher":
        other = Patcher(self.model)
        other.model_options = copy.deepcopy(self.model_options)
        other.callbacks = {name: list(ones) for name, ones in self.callbacks.items()}
        return other

    def get_model_object(self, name: str) -> Any:
        return Sampling() if name == "model_sampling" else self.model

    def add_wrapper_with_key(self, kind: str, key: str, wrapper: Any) -> None:
        wrappers = self.model_options["transformer_options"]["wrappers"]
        wrappers.setdefault(kind, {}).setdefault(key, []).append(wrapper)

    def add_callback_with_key(self, kind: str, key: str, callback: Any) -> None:
        del key
        self.callbacks.setdefault(kind, []).append(callback)

    def sample(
        self, latents: Tensor, sigmas: list[float], together: bool = False, windows: Any = None
    ) -> list[Tensor]:
        """What the model returns at every step: conditional and unconditional, in one batch or one after the other.

        `windows`: the numbers of the frames of every context window at a step, in the order of that step.
        """
        results = []
        context = {0: torch.full((1, 3, 32), 0.5), 1: torch.full((1, 3, 32), -0.5)}
        uuids = {0: "c0ffee", 1: "decaf"}
        for step, sigma in enumerate(sigmas[:-1]):
            for callback in self.callbacks.get("on_prepare_state", []):
                callback(self, torch.tensor([sigma]), self.model_options)
            parts = [[1, 0]] if together else [[0], [1]]
            shown = [list(range(latents.shape[2]))] if windows is None else windows(step)
            for frames, kinds in itertools.product(shown, parts):
                told = (
                    {} if windows is None else {"context_window": SimpleNamespace(index_list=frames, dim=2)}
                )
                options = {
                    **told,
                    **self.model_options["transformer_options"],
                    "sigmas": torch.tensor([sigma] * len(kinds)),
                    "sample_sigmas": torch.tensor(sigmas),
                    "cond_or_uncond": kinds,
                    "uuids": [uuids[kind] for kind in kinds],
                }
                batch = torch.cat([latents[:, :, frames] * (1.0 - 0.3 * kind) for kind in kinds])
                texts = torch.cat([context[kind] for kind in kinds])
                out = self.model(batch, options["sigmas"], texts, options)
                results.append(out)
        for callback in self.callbacks.get("on_cleanup", []):
            callback(self)
        return results


def load_nodes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The node package with a stand-in for ComfyUI's modules."""

    class Field:
        def __init__(self, *args: Any, **told: Any) -> None:
            self.id, self.told = (args[0] if args else told.get("display_name")), told

    class Kind:
        Input = Output = Field

    io = SimpleNamespace(
        ComfyNode=object,
        Schema=SimpleNamespace,
        NodeOutput=lambda *values: values,
        **dict.fromkeys(("Model", "Combo", "Float", "String", "Int", "Boolean", "Latent", "Image"), Kind),
    )
    modules: dict[str, dict[str, Any]] = {
        "comfy": {},
        "comfy.patcher_extension": {
            "CallbacksMP": SimpleNamespace(ON_PREPARE_STATE="on_prepare_state", ON_CLEANUP="on_cleanup"),
            "WrappersMP": SimpleNamespace(DIFFUSION_MODEL="diffusion_model"),
        },
        "comfy_api": {},
        "comfy_api.latest": {"ComfyExtension": object, "io": io},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    place = {"submodule_search_locations": [str(PACKAGE)]}
    spec: Any = importlib.util.spec_from_file_location("videosieve_nodes", PACKAGE / "__init__.py", **place)
    package = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "videosieve_nodes", package)
    monkeypatch.delitem(sys.modules, "videosieve_nodes.nodes", raising=False)
    spec.loader.exec_module(package)
    return package
