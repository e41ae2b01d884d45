"""How saliency is computed: a bundle of the method's parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from videosieve.concepts.accumulate import Keep
from videosieve.concepts.scores import SIGHTS, Sight
from videosieve.errors import RecipeError
from videosieve.fields import In, Whole, check_fields, checked, shown

Pool = Literal["auto", "mean", "first", "last"]
Name = Literal["concept", "cross_attention"]
Vectors = Literal["plain", "linear"]
Average = Literal["probabilities", "mean_first", "raw"]
Space = Literal["output", "value"]
Pairs = tuple[tuple[Whole, Sight], ...]


@dataclass(frozen=True, slots=True)
class SaliencyMethod:
    """What is compared, and how.

    Attributes:
        name: "concept": attention outputs of video and concepts (ConceptAttention). "cross_attention": queries of the
            video and keys of the concepts, mean over heads.
        temperature: Of the softmax over concepts, above 0. The paper's is 1.
        pool: Which tokens of a concept make its vector. "auto" takes the last one of a causal text encoder and the
            mean of any other; "first" is what the paper's code does, which sees "sky" in "skyscraper".
        sight: What concepts attend to; "both" (video and concepts) is the method, the rest are its ablations. By layer,
            {0: "both", 2: "none", 3: "none"}, these layers are read and no others, each in concepts that have had its
            sight from the first layer on: the mean of what calls with one sight each give. Kept as pairs.
        keep: Which maps to keep besides the mean: "mean" none, "layers", "steps", or "sites" for both.
        vectors: "linear" takes from every entry of the concepts' vectors the least over the concepts and divides by
            their sum, as the authors' segmentation code does before it compares; "plain" compares them as they are.
        average: "probabilities": softmax of every layer and step, then the mean, as in the paper. "mean_first": the
            mean of the dot products, then the softmax, as in the authors' code for FLUX.2, whose temperature is 1000.
            "raw": the mean of the dot products without a softmax, as in their multi-class evaluation.
        space: What "concept" compares: "output", attention outputs before the projection, is the method; "value", the
            values that are attended to, is its ablation. The paper's third space, that of attention weights, is the
            name "cross_attention".

    Raises:
        RecipeError: A value outside its range, no layer with a sight, or a space with "cross_attention".
    """

    name: Name = "concept"
    temperature: Annotated[float, In("(0, inf)", "must be above 0 and finite")] = 1.0
    pool: Pool = "auto"
    sight: Sight | Mapping[int, Sight] | Pairs = "both"
    keep: Keep = "mean"
    vectors: Vectors = "plain"
    average: Average = "probabilities"
    space: Space = "output"

    def __post_init__(self) -> None:
        one = isinstance(self.sight, str)
        plain = checked("sight", self.sight, Sight, RecipeError) if one else _pairs(self.sight)
        object.__setattr__(self, "sight", plain)
        check_fields(self, RecipeError)
        if self.name == "cross_attention" and self.space != "output":
            raise RecipeError(
                f"cross_attention compares queries with keys and has no other space, got space={self.space!r}; take "
                f"the name 'concept'"
            )

    @property
    def sights(self) -> dict[int, Sight]:
        """The sight of every layer that is read; empty where all have the same."""
        return {} if isinstance(self.sight, str) else dict(self.sight)


def _pairs(sight: object) -> Pairs:
    """A sight by layer, in the order of the layers; a RecipeError says what is wrong with it."""
    given = tuple(sight.items()) if isinstance(sight, Mapping) else sight
    if not isinstance(given, tuple | list) or not given:
        words = ", ".join(map(repr, SIGHTS))
        raise RecipeError(
            f"sight must be one of {words}, or layers with one each, as {{0: 'both', 2: 'none'}}; got {shown(sight)}"
        )
    pairs: Pairs = checked("sight", given, Pairs, RecipeError)
    if len(dict(pairs)) < len(pairs):
        raise RecipeError(f"a layer must have one sight, got sight={shown(sight)}")
    return tuple(sorted(pairs))
