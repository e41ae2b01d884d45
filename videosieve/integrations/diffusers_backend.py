"""A courtesy: videosieve as an attention backend of diffusers, for methods that need neither layer, step nor grid.

`sparsify` is the main road. A backend sees tensors and nothing else: no warm-up, no schedule, no layout.
"""

from typing import Any

from torch import Tensor

from videosieve.errors import IntegrationError
from videosieve.integrations.plain import WITH_MEMORY, WITHOUT_GRID, PlainAttention

NAME = "videosieve"


def register_backend(method: Any = "xattention", **options: Any) -> PlainAttention:
    """Make `model.set_attention_backend("videosieve")` work; calling it again exchanges the recipe.

    diffusers then routes every attention of the model here: cross-attention, masks and short sequences stay dense. Its
    setting holds for the whole process until another backend is set.

    Args:
        method: One that looks at queries and keys alone and remembers nothing.
        **options: Its fields, and `min_tokens`.

    Returns:
        What attends; its `run` has the trace of the last forward's calls.

    Raises:
        IntegrationError: The method needs a grid or a memory, or this diffusers has no such registry.
        RecipeError: Unknown method, option or value.
    """
    attend = PlainAttention(method, **{"dense_steps": 0, "dense_layers": 0, **options})
    chosen = attend.run.recipe.method.name
    if chosen not in WITHOUT_GRID or chosen in WITH_MEMORY:
        fit = ", ".join(name for name in WITHOUT_GRID if name not in WITH_MEMORY)
        raise IntegrationError(
            f"a backend of diffusers sees neither grid nor step, which {chosen!r} needs; take one of {fit}, or sparsify"
        )

    def videosieve_attention(
        query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> Tensor:  # fmt: skip
        del enable_gqa  # told by the shapes
        if dropout_p:
            raise IntegrationError(
                f"attention here has no dropout, got {dropout_p=}; set another backend to train"
            )
        told = {"attn_mask": attn_mask}
        return attend(query, key, value, told, is_causal=is_causal, softmax_scale=scale)

    try:
        from diffusers.models import attention_dispatch

        names, registry = (
            attention_dispatch.AttentionBackendName,
            vars(attention_dispatch)["_AttentionBackendRegistry"],
        )
        member: Any = names._value2member_map_.get(NAME)
        if member is None:
            member = str.__new__(names, NAME)
            member._name_ = member._value_ = NAME
            names._value2member_map_[NAME] = names._member_map_[NAME] = member
        registry.register(member)(videosieve_attention)
    except (ImportError, AttributeError, KeyError, TypeError) as error:
        raise IntegrationError(
            f"this diffusers has no registry of attention backends as known here: {error}"
        ) from error
    return attend
