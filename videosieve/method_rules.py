"""What a recipe, and the place where it runs, may ask of a method; a RecipeError where it cannot be had."""

from videosieve.errors import RecipeError
from videosieve.methods import Dense, Method


def require_shareable(method: Method, shared: bool) -> None:
    """Refuse a shared selection of a method that has none to share."""
    if shared and (isinstance(method, Dense) or type(method).correct is not Method.correct):
        raise RecipeError(
            f"shared_selection needs a method that chooses blocks and whose output is their attention alone; "
            f"{method.name!r} is none. Leave shared_selection out"
        )


def require_compensable(method: Method, compensate: str) -> None:
    """Refuse answers for a method that leaves nothing out or answers for it already, and tangents both ways."""
    if compensate == "none":
        return
    if isinstance(method, Dense):
        raise RecipeError(
            "compensate needs a method that leaves blocks out; 'dense' leaves none. Leave compensate out"
        )
    if type(method).correct is not Method.correct:
        raise RecipeError(
            f"compensate answers for what is left out, and {method.name!r} does so in its own way. Leave compensate out"
        )
    if method.keeps_columns:
        raise RecipeError(
            f"compensate answers for whole blocks, and {method.name!r} keeps single keys of blocks that it leaves out, "
            f"which would be counted twice. Leave compensate out"
        )
    if compensate == "tangents" and method.causal_name != method.name:
        raise RecipeError(
            f"compensate='tangents' answers for what lies before a block of queries, and {method.name!r} is "
            f"never causal; take compensate='centroids'"
        )


def require_roundable(method: Method, prefer: str) -> None:
    """Refuse products of bf16 for dense attention, which is what others are compared with."""
    if prefer != "none" and isinstance(method, Dense):
        raise RecipeError(
            f"prefer={prefer!r} is for sparse methods; 'dense' computes what the untouched pipeline does. Leave prefer "
            f"out, or name the kernel: Dense(kernel='native-bf16')"
        )


def require_both_ways(method: Method, compensate: str) -> None:
    """Refuse a causal method on a video, which would be another one without a word, and tangents, causal as well."""
    if method.is_causal:
        raise RecipeError(
            f"{method.name!r} is causal, no query sees a later key, and video transformers attend both ways; causal "
            f"methods are for language models, take another method or leave causal out"
        )
    if compensate == "tangents":
        raise RecipeError(
            "compensate='tangents' is for causal attention: the first query of a block answers for those behind it, "
            "and video transformers attend both ways; take compensate='centroids'"
        )
