"""What to say of pipelines without a row: why, and what would work."""

from collections.abc import Mapping

from videosieve.integrations.diffusers.models.images import IMAGES

FACTORISED = (
    "UNetMotionModel",
    "UNetSpatioTemporalConditionModel",
    "UNet3DConditionModel",
    "I2VGenXLUNet",
    "TransformerTemporalModel",
)
"""Networks that attend within a frame and along time, one after the other."""

WHY_NO_IMAGES = (
    "a few thousand tokens in one frame, to which sparse attention over the frames of a video does not apply"
)
"""Why image transformers are not made sparse."""

_IMAGES = ("Transformer2DModel", "UNet2DConditionModel", "UNet2DModel")
_SOUND = ("Transformer1DModel", "DiTModel", "UNet1DModel")


def why_unknown(pipeline: str, parts: Mapping[str, str], known: str) -> str:
    """Why a pipeline cannot be made sparse, and the way forward.

    Args:
        pipeline: Its class.
        parts: The classes of its networks by component name.
        known: The classes that can be made sparse, for people.
    """
    told = why_factorised(parts) or _why_no_video(parts)
    if told:
        return f"{told}. Known: {known}"
    seen = ", ".join(f"{name}: {cls}" for name, cls in parts.items())
    return (
        f"{pipeline} has no video transformer that videosieve knows; it has {seen or 'no network'}. Known: {known}. "
        f"Another class needs a row: videosieve.register_model, docs/adding_a_model.md"
    )


def why_factorised(parts: Mapping[str, str]) -> str:
    """The sentence for a pipeline whose network attends within a frame and along time, or nothing.

    Args:
        parts: The classes of its networks by component name.
    """
    found = next((cls for cls in parts.values() if cls in FACTORISED), None)
    if found is None:
        return ""
    return (
        f"{found} attends within a frame and along time, never over both, so its sequences leave nothing to skip; "
        f"`videosieve models` lists video transformers that attend over both"
    )


def _why_no_video(parts: Mapping[str, str]) -> str:
    image = next((cls for cls in parts.values() if cls in IMAGES), None)
    if image is not None:
        return (
            f"{image} ({IMAGES[image].family}) makes images: {WHY_NO_IMAGES}; "
            f"videosieve.saliency(pipe, prompt, concepts) shows where in an image it sees a concept"
        )
    for endings, what in ((_IMAGES, "images"), (_SOUND, "sound")):
        found = next((cls for cls in parts.values() if cls.endswith(endings)), None)
        if found is not None:
            return (
                f"{found} makes {what}, and sparse attention here is about the frames of a video; "
                f"videosieve.attention(q, k, v, layout) is there for calls of your own"
            )
    return ""
