"""The text side: a closed-vocabulary tokenizer and a two-layer encoder, trained with the video model."""

from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from videosieve.shapes.world.captions import MAX_TOKENS, SPECIAL, VOCABULARY


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Makes the tokenizer: one id a word, bos and eos around, padding at the tail."""
    ids = {word: index for index, word in enumerate(VOCABULARY)}
    pad, bos, eos, unknown = SPECIAL
    core = Tokenizer(WordLevel(ids, unk_token=unknown))
    core.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.Replace(Regex(r'[.,;:!?"()]'), " ")]
    )
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = TemplateProcessing(
        single=f"{bos} $A {eos}", special_tokens=[(bos, ids[bos]), (eos, ids[eos])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        unk_token=unknown,
        model_max_length=MAX_TOKENS,
        padding_side="right",
    )


class _Block(nn.Module):
    """Pre-norm bidirectional attention and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        q, k, v = self.to_qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=keep[:, None, None, :])
        x = x + self.to_out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


@dataclass
class TextEncoding:
    """Token embeddings [batch, tokens, width] and their mean over real tokens [batch, width]."""

    last_hidden_state: torch.Tensor
    pooler_output: torch.Tensor


class ShapesTextEncoder(ModelMixin, ConfigMixin):
    """Embeddings, learned positions and bidirectional transformer layers.

    Args:
        vocab_size: Words and special tokens.
        width: Channels of a token.
        layers: Transformer layers.
        heads: Attention heads; divides `width`.
        max_tokens: Longest caption, in tokens.
    """

    @register_to_config
    def __init__(
        self,
        vocab_size: int = len(VOCABULARY),
        width: int = 192,
        layers: int = 2,
        heads: int = 6,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(max_tokens, width)
        self.blocks = nn.ModuleList([_Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.tokens.weight, std=0.5)
        nn.init.normal_(self.positions.weight, std=0.2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> TextEncoding:
        """Encodes captions.

        Args:
            input_ids: int64 ids below `vocab_size` [batch, tokens], tokens <= `max_tokens`.
            attention_mask: 1 for real tokens, 0 for padding [batch, tokens].

        Returns:
            Token embeddings (zero at padding) and their masked mean.
        """
        keep = attention_mask.bool()
        x = self.tokens(input_ids) + self.positions.weight[: input_ids.shape[1]]
        for block in self.blocks:
            x = block(x, keep)
        x = self.norm(x) * keep[..., None]
        return TextEncoding(x, x.sum(1) / keep.sum(1, keepdim=True))
