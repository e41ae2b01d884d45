"""Caches of other programs, by name: diffusers' own and cache-dit's, to run beside a sparse recipe or without one.

A cache leaves blocks, attentions or whole branches of guidance out where it takes an earlier result for good enough.
What it decides is its own affair; here are the names, the settings, and the order: a cache goes on before `sparsify`
and comes off after it. cache-dit is optional and imported only where one of its caches is asked for.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from importlib import import_module
from importlib.metadata import version
from typing import Any

from videosieve.errors import IntegrationError, RecipeError
from videosieve.fields import nearest

CACHE_DIT = "cache_dit"


@dataclass(frozen=True, slots=True)
class CacheKind:
    """A cache of another program.

    Attributes:
        package: Where its configuration is: "diffusers" or "cache_dit".
        config: The class that its settings are fields of.
        says: What it leaves out, for people.
        defaults: Settings that the class lacks a usable default for.
    """

    package: str
    config: str
    says: str
    defaults: Mapping[str, Any] = field(default_factory=dict)


CACHES: dict[str, CacheKind] = {
    "first_block": CacheKind(
        "diffusers",
        "FirstBlockCacheConfig",
        "all blocks but the first, while the first one's residual hardly changes",
    ),
    "taylorseer": CacheKind(
        "diffusers",
        "TaylorSeerCacheConfig",
        "attention and feed-forwards, extrapolated between computed steps",
        # diffusers' own patterns hold for modules called attn, so in Wan and CogVideoX they find nothing.
        {
            "cache_identifiers": [
                r"(single_transformer_|transformer_)?blocks\.\d+\.(attn\d?|ff|ff_context|ffn|proj_mlp)"
            ]
        },
    ),
    "pyramid_broadcast": CacheKind(
        "diffusers",
        "PyramidAttentionBroadcastConfig",
        "every second attention inside a range of timesteps",
        {"spatial_attention_block_skip_range": 2},
    ),
    "faster": CacheKind(
        "diffusers",
        "FasterCacheConfig",
        "attention, and the unconditional half of a batch with both branches",
    ),
    "mag": CacheKind(
        "diffusers", "MagCacheConfig", "all blocks, by ratios that were calibrated on the model"
    ),
    "sea": CacheKind("diffusers", "SeaCacheConfig", "all blocks, by the spectrum of the latents"),
    "dbcache": CacheKind(
        CACHE_DIT, "DBCacheConfig", "the blocks in the middle, while the first ones' residual hardly changes"
    ),
    "dbcache_taylorseer": CacheKind(
        CACHE_DIT, "DBCacheConfig", "the same, extrapolated instead of repeated (TaylorSeer of first order)"
    ),
}


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache with its settings.

    Attributes:
        name: Of `CACHES`.
        settings: Fields of the cache's configuration class; what is missing keeps that class's default.

    Raises:
        RecipeError: An unknown name or setting, or a value that the configuration refuses.
        IntegrationError: The package is not installed, or too old to have this cache.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in CACHES:
            raise RecipeError(
                f"a cache is one of {', '.join(CACHES)}; got {self.name!r}{nearest(self.name, CACHES)}"
            )
        known = [item.name for item in fields(self.config_class)]
        if unknown := [name for name in self.settings if name not in known]:
            raise RecipeError(
                f"cache {self.name!r} has the settings {', '.join(known)} ({CACHES[self.name].config} of "
                f"{CACHES[self.name].package}); got {', '.join(unknown)}"
            )
        self.configure({"current_timestep_callback": _never} if "current_timestep_callback" in known else {})

    @property
    def label(self) -> str:
        """The name with the settings, as the command line takes it: "first_block:threshold=0.1"."""
        text = ",".join(f"{name}={value}" for name, value in self.settings.items())
        return self.name + (f":{text}" if text else "")

    @property
    def origin(self) -> str:
        """Package and version: "cache-dit 1.5.3"."""
        package = CACHES[self.name].package
        return f"{package.replace('_', '-')} {version(package)}"

    @property
    def config_class(self) -> Any:
        """The class of the package that the settings are fields of."""
        kind = CACHES[self.name]
        try:
            found = getattr(import_module(kind.package), kind.config, None)
        except ImportError as error:
            raise IntegrationError(
                f"cache {self.name!r} needs the package {kind.package.replace('_', '-')}, which cannot be imported "
                f"({error}); pip install 'videosieve[cache-dit]', or take a cache of diffusers"
            ) from None
        if found is None:
            raise IntegrationError(
                f"cache {self.name!r} needs a newer {kind.package}: it has no {kind.config}"
            )
        return found

    def configure(self, more: Mapping[str, Any]) -> Any:
        """The cache's configuration.

        Args:
            more: What else it is to know, where the settings do not say it.

        Raises:
            RecipeError: The package refuses a value.
        """
        try:
            return self.config_class(**{**CACHES[self.name].defaults, **more, **self.settings})
        except (TypeError, ValueError) as error:
            raise RecipeError(
                f"cache {self.name!r} cannot be configured: {' '.join(str(error).split())}"
            ) from None

    @contextmanager
    def enabled(self, pipe: Any, branches: Collection[str] = (), steps: int | None = None) -> Iterator[None]:
        """The pipeline with this cache; without it again afterwards.

        Args:
            pipe: A diffusers video pipeline, before `sparsify`.
            branches: The branches of guidance as the trace of a run without a cache names them; empty leaves it to the
                cache what to think of guidance. Caches that count forwards must know whether each has its own.
            steps: Denoising steps of the coming generations, for caches that ask.

        Raises:
            IntegrationError: The cache does not know the model, or one is on already.
        """
        if CACHES[self.name].package == CACHE_DIT and len(branches) > 2:
            raise IntegrationError(
                f"cache-dit knows one or two forwards a step, and {type(pipe).__name__} has the branches "
                f"{', '.join(sorted(branches))}; take a cache of diffusers"
            )
        switch = _cache_dit if CACHES[self.name].package == CACHE_DIT else _diffusers
        with switch(self, pipe, branches, steps):
            yield


@contextmanager
def _diffusers(cache: Cache, pipe: Any, branches: Collection[str], steps: int | None) -> Iterator[None]:
    known = {item.name for item in fields(cache.config_class)}
    offered = {
        "current_timestep_callback": lambda: pipe.current_timestep,
        # Where every forward has one branch there is no half of a batch to leave out.
        "is_guidance_distilled": "cond_uncond" not in branches if branches else None,
        "num_inference_steps": steps,
    }
    more = {name: value for name, value in offered.items() if name in known and value is not None}
    transformers = _transformers(pipe)
    if any(one.is_cache_enabled for one in transformers):
        raise IntegrationError(
            f"cache {cache.name!r} cannot be put on {type(pipe).__name__}: a cache is on already; disable_cache() first"
        )
    on = []
    try:
        for transformer in transformers:
            on.append(transformer)
            before = _hooks(transformer)
            with _told(cache, pipe):
                transformer.enable_cache(cache.configure(more))
            if _hooks(transformer) == before:
                raise IntegrationError(
                    f"cache {cache.name!r} finds nothing to leave out of {type(transformer).__name__}; "
                    f"its settings may have patterns for module names"
                )
        yield
    finally:
        for transformer in on:
            transformer.disable_cache()


@contextmanager
def _cache_dit(cache: Cache, pipe: Any, branches: Collection[str], steps: int | None) -> Iterator[None]:
    cache_dit: Any = import_module(CACHE_DIT)
    del steps  # it counts them itself, anew in every call of a pipeline
    speakers = [
        logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if _is_cache_dit(name)
    ]
    levels = [one.level for one in speakers]
    for one in speakers:
        one.setLevel(logging.ERROR)
    transformers = _transformers(pipe)
    children = [list(one._modules) for one in transformers]
    calibrator = {}
    if cache.name == "dbcache_taylorseer":
        calibrator["calibrator_config"] = cache_dit.TaylorSeerCalibratorConfig(taylorseer_order=1)
    try:
        with _told(cache, pipe):
            config = cache.configure({"enable_separate_cfg": len(branches) > 1 if branches else None})
            adapter = cache_dit.get_adapter(pipe)
            if adapter is None:  # a pipeline class of its own around a transformer that is known
                adapter = cache_dit.get_adapter(pipe.transformer)
                adapter.pipe = pipe
            cache_dit.enable_cache(adapter, cache_config=config, **calibrator)
        yield
    finally:
        cache_dit.disable_cache(pipe)
        for transformer, names in zip(transformers, children, strict=True):
            _restore_order(transformer, names)
        for one, level in zip(speakers, levels, strict=True):
            one.setLevel(level)


def _transformers(pipe: Any) -> list[Any]:
    found = (getattr(pipe, name, None) for name in ("transformer", "transformer_2"))
    return [one for one in found if one is not None]


def _is_cache_dit(name: str) -> bool:
    return name.split(".")[0].lower() == CACHE_DIT


def _restore_order(module: Any, names: list[str]) -> None:
    """Children in the order that they had: cache-dit takes lists of blocks out for every forward and appends them
    afterwards, and FirstBlockCache takes the first list that it meets for the first blocks."""
    for name in names:
        module._modules[name] = module._modules.pop(name)


def _hooks(transformer: Any) -> int:
    """Hooks of diffusers on the transformer's modules."""
    registries = (getattr(module, "_diffusers_hook", None) for module in transformer.modules())
    return sum(len(registry.hooks) for registry in registries if registry is not None)


@contextmanager
def _told(cache: Cache, pipe: Any) -> Iterator[None]:
    try:
        yield
    except (AttributeError, AssertionError, ValueError, TypeError, RuntimeError) as error:
        raise IntegrationError(
            f"cache {cache.name!r} cannot be put on {type(pipe).__name__}: {' '.join(str(error).split())}"
        ) from error


def _never() -> int:
    return 0
