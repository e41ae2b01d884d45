"""`enable_ulysses`: diffusers' context parallelism on a whole pipeline, joint models and CPUs included.

diffusers' own `enable_parallelism` works as well where it has a plan for the model (video alone) and an accelerator.
"""

from typing import Any

from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.fields import Count, checked
from videosieve.integrations.diffusers.models.parts import Cut
from videosieve.integrations.diffusers.targets import Target, describe
from videosieve.integrations.diffusers.ulysses.share import require_cuts


def enable_ulysses(target: Any, *, anything: bool = False) -> int:
    """Spread the attention heads of a pipeline's transformers over the processes of the default group.

    Every process calls it, has the whole pipeline, calls it with the same arguments and gets the same video. Before or
    after `sparsify`. It stays until the process ends, as diffusers has no way back.

    Args:
        target: A diffusers video pipeline or a transformer.
        anything: Allow heads and tokens that the processes do not divide ("Ulysses anything"); the last process then
            has fewer heads.

    Returns:
        Processes.

    Raises:
        IntegrationError: No process group, one process, heads or a model that cannot be cut, or a transformer that is
            parallel already. An error changes nothing.
    """
    import torch.distributed as dist

    checked("anything", anything, bool, IntegrationError)
    if not (dist.is_available() and dist.is_initialized()):
        raise IntegrationError(
            "Ulysses needs a process group: start under torchrun, and call torch.distributed.init_process_group first"
        )
    ranks = dist.get_world_size()
    if ranks < 2:
        raise IntegrationError(f"Ulysses needs at least 2 processes, the group has {ranks}")
    found = describe(target)
    plans = [_plan_of(one) for one in found]
    for one in found:
        _require_heads(one, ranks, anything)
    for one, plan in zip(found, plans, strict=True):
        _enable(one, plan, ranks, anything)
    return ranks


def require_divisible(heads: int, ranks: int, anything: bool) -> str:
    """Why heads cannot be spread over ranks, or nothing."""
    checked("ranks", ranks, Count, IntegrationError)
    if not anything:
        return f"{heads} heads do not divide among {ranks} processes" if heads % ranks else ""
    each = -(-heads // ranks)
    return "" if each * (ranks - 1) < heads else f"{heads} heads leave some of {ranks} processes without any"


def _require_heads(found: Target, ranks: int, anything: bool) -> None:
    if getattr(found.transformer, "_parallel_config", None) is not None:
        raise IntegrationError(f"{found.component} is parallel already")
    if why := require_divisible(found.heads, ranks, anything):
        raise IntegrationError(
            f"{found.component} cannot be spread: {why}; take a number of processes that divides the heads"
            + ("" if anything else ", or anything=True")
        )


def _plan_of(found: Target) -> dict[str, Any]:
    require_cuts(found)
    if found.row.cuts:
        return {cut.module: _entry(cut) for cut in found.row.cuts}
    plan = getattr(found.transformer, "_cp_plan", None)
    if plan is None:
        raise IntegrationError(
            f"nothing says how context parallelism cuts {found.row.name}; run it on one device"
        )
    return plan


def _entry(cut: Cut) -> Any:
    from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput

    if not cut.tensors:
        return ContextParallelOutput(gather_dim=cut.axis, expected_dims=cut.axes)
    entries: dict[str | int, Any] = {}
    for tensor in cut.tensors:
        one = ContextParallelInput(cut.axis, cut.axes, split_output=isinstance(tensor, int))
        entries[tensor] = [one, one] if cut.pairs else one
    return entries


def _enable(found: Target, plan: dict[str, Any], ranks: int, anything: bool) -> None:
    """What diffusers' `enable_parallelism` does; that one wants an accelerator."""
    import torch.distributed as dist
    from diffusers import ContextParallelConfig, ParallelConfig
    from diffusers.hooks.context_parallel import apply_context_parallel
    from torch.distributed.device_mesh import init_device_mesh

    transformer: Any = found.transformer
    device = next(transformer.parameters()).device
    parallel = ContextParallelConfig(ulysses_degree=ranks, ulysses_anything=anything)
    mesh = init_device_mesh(device.type, parallel.mesh_shape, mesh_dim_names=parallel.mesh_dim_names)
    config = ParallelConfig(context_parallel_config=parallel)
    config.setup(dist.get_rank(), ranks, device, mesh=mesh)
    transformer._parallel_config = config
    for module in transformer.modules():
        processor: Any = getattr(module, "processor", None)
        if hasattr(processor, "_parallel_config"):
            processor._parallel_config = config
    apply_context_parallel(transformer, parallel, plan)
    if found.row.text != "none":
        transformer.register_forward_pre_hook(_guard(found))


def _guard(found: Target) -> Any:
    """Attention of the model's own would take the parts of a joint sequence for all of it, or its mask for theirs."""

    def require_sparsified(module: Module, args: Any) -> None:
        del module, args
        first: Any = next(iter(found.attentions.values()))
        if not hasattr(first.processor, "videosieve_layer"):
            raise IntegrationError(
                f"{found.component} keeps text and video in one sequence, which only a sparsified pipeline "
                f'puts in order under Ulysses; call sparsify, with "dense" for dense attention'
            )

    return require_sparsified
