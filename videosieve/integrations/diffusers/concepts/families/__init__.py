"""The concept stream of each joint-attention family, one file per kinship."""

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.concepts.crossed import CROSS_FAMILIES, why_neither
from videosieve.integrations.diffusers.concepts.families import cogvideox, flux, hunyuan, images, mochi, motif
from videosieve.integrations.diffusers.concepts.streams import ConceptFamily

CONCEPT_FAMILIES: dict[str, ConceptFamily] = {
    **hunyuan.ROWS,
    **cogvideox.ROWS,
    **motif.ROWS,
    **mochi.ROWS,
    **flux.ROWS,
    **images.ROWS,
}


def methods_of(name: str) -> tuple[str, ...]:
    """The methods that show where a transformer class sees a concept; none where `why_neither` says why."""
    if name in CONCEPT_FAMILIES:
        return ("concept", "cross_attention")
    return ("cross_attention",) if name in CROSS_FAMILIES else ()


def find_family(name: str) -> ConceptFamily:
    """The concept family of a transformer class.

    Raises:
        IntegrationError: Its text only lends keys and values, or it has no saliency at all.
    """
    if name not in CONCEPT_FAMILIES and (neither := why_neither(name)):
        raise IntegrationError(f"{neither}, {', '.join(CONCEPT_FAMILIES)}")
    if name not in CONCEPT_FAMILIES:
        raise IntegrationError(
            f"method 'concept' compares attention outputs of text and video, and in {name} text tokens have none: they "
            f"only lend keys and values. Use method='cross_attention'; 'concept' works with "
            f"{', '.join(CONCEPT_FAMILIES)}"
        )
    return CONCEPT_FAMILIES[name]


__all__ = ["CONCEPT_FAMILIES", "find_family", "methods_of"]
