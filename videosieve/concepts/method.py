"""How saliency is computed: a bundle of the method's parameters."""

from dataclasses import dataclass
from typing import Annotated, Literal

from videosieve.concepts.accumulate import Keep
from videosieve.concepts.scores import Sight
from videosieve.errors import RecipeError
from videosieve.fields import In, check_fields

Pool = Literal["auto", "mean", "first", "last"]
Name = Literal["concept", "cross_attention"]
Vectors = Literal["plain", "linear"]
Average = Literal["probabilities", "mean_first", "raw"]
Space = Literal["output", "value"]


@dataclass(frozen=True, slots=True)
class SaliencyMethod:
    """What is compared, and how.

    Attributes:
        name: "concept": attention outputs of video and concepts (ConceptAttention). "cross_attention": queries of the
            video and keys of the concepts, mean over heads.
        temperature: Of the softmax over concepts, above 0. The paper's is 1.
        pool: Which tokens of a concept make its vector. "auto" takes the last one of a causal text encoder and the
            mean of any other; "first" is what the paper's code does, which sees "sky" in "skyscraper".
        sight: What concepts attend to; "both" (video and concepts) is the method, the rest are its ablations.
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
        RecipeError: A value outside its range, or a space with "cross_attention".
    """

    name: Name = "concept"
    temperature: Annotated[float, In("(0, inf)", "must be above 0 and finite")] = 1.0
    pool: Pool = "auto"
    sight: Sight = "both"
    keep: Keep = "mean"
    vectors: Vectors = "plain"
    average: Average = "probabilities"
    space: Space = "output"

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        if self.name == "cross_attention" and self.space != "output":
            raise RecipeError(
                f"cross_attention compares queries with keys and has no other space, got space={self.space!r}; take "
                f"the name 'concept'"
            )
