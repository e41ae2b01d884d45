"""What to say of pipelines without a row: why, and what would work."""

from collections.abc import Mapping


def why_unknown(pipeline: str, parts: Mapping[str, str], known: str) -> str:
    """Why a pipeline cannot be made sparse, and the way forward.

    Args:
        pipeline: Its class.
        parts: The classes of its networks by component name.
        known: The classes that can be made sparse, for people.
    """
    seen = ", ".join(f"{name}: {cls}" for name, cls in parts.items())
    unets = [cls for cls in parts.values() if "UNet" in cls or cls == "TransformerTemporalModel"]
    if unets:
        return (
            f"{unets[0]} is a UNet that attends within a frame and along time, never over both, so its sequences leave "
            f"nothing to skip; take a video transformer. Known: {known}"
        )
    images = [cls for cls in parts.values() if cls.endswith(("Transformer2DModel", "Transformer1DModel"))]
    if images:
        what = "images" if "2D" in images[0] else "sound"
        return (
            f"{images[0]} makes {what}, and sparse attention here is about the frames of a video; "
            f"videosieve.attention(q, k, v, layout) is there for calls of your own. Known: {known}"
        )
    return (
        f"{pipeline} has no video transformer that videosieve knows; it has {seen or 'no network'}. Known: {known}. "
        f"Another class needs a row: videosieve.register_model, docs/adding_a_model.md"
    )
