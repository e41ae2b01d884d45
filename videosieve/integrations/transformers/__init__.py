"""Language and vision-language models of transformers: the prefill sparse, decoding as it was."""

from videosieve.integrations.transformers.masks import NAME
from videosieve.integrations.transformers.sparsify import sparsify

__all__ = ["NAME", "sparsify"]
