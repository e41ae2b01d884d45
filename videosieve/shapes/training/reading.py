"""Teaches the text encoder which words belong together, as a pretrained one would know.

The video loss alone is a poor teacher of grammar. After 96,000 clips, which motion belongs to which object could not
be read off the object's words (a linear probe was right in 41 %), and both objects moved as the last phrase said. A
hundred steps on captions alone make it 100 %. So every word that speaks of an object has to tell that object's shape,
colour, size and motion: before the first video, and lightly with every batch of videos.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from videosieve.shapes.text import ShapesTextEncoder
from videosieve.shapes.world.captions import MAX_TOKENS, read_words, write_captions, write_fragments
from videosieve.shapes.world.factors import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, SIZES, sample_factors

_CLASSES = {"shape": SHAPES, "colour": COLOURS, "size": SIZES, "motion": MOTIONS, "background": BACKGROUNDS}
_UNSAID = -1
_CAPTIONS = 256  # a step of learn_to_read
_FRAGMENTS = 64  # of them name only a part of a clip
_TWO_OBJECTS = 0.7


class Reader(nn.Linear):
    """Reads the five factors off a token embedding; needed for training only.

    Args:
        width: Channels of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, sum(len(names) for names in _CLASSES.values()))
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


def word_labels(captions: list[str]) -> Tensor:
    """What each token of a caption should tell.

    Args:
        captions: In the grammar's words; may be empty.

    Returns:
        int64 class ids [captions, MAX_TOKENS, 5] in the order shape, colour, size, motion, background; -1 where the
        caption says nothing. A token stands one place behind its word (bos comes first).
    """
    labels = torch.full((len(captions), MAX_TOKENS, len(_CLASSES)), _UNSAID)
    for row, caption in zip(labels, captions, strict=True):
        words = read_words(caption)
        for word in words:
            for said in words:
                if said.thing == word.thing:
                    column = list(_CLASSES).index(said.factor)
                    row[word.place + 1, column] = _CLASSES[said.factor].index(said.value)
    return labels


def reading_loss(reader: Reader, states: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the factors read off the tokens.

    Args:
        reader: The linear heads.
        states: Token embeddings [captions, tokens, width].
        labels: Of `word_labels` [captions, tokens, 5].

    Returns:
        Scalar: mean over the tokens that tell a factor, summed over the factors; 0 without any.
    """
    scores = reader(states).float().split([len(names) for names in _CLASSES.values()], dim=-1)
    total = states.new_zeros((), dtype=torch.float32)
    for score, label in zip(scores, labels.unbind(-1), strict=True):
        losses = F.cross_entropy(score.flatten(0, 1), label.flatten(), ignore_index=_UNSAID, reduction="sum")
        total = total + losses / (label != _UNSAID).sum().clamp(min=1)
    return total


def learn_to_read(
    encoder: ShapesTextEncoder,
    reader: Reader,
    tokenizer: PreTrainedTokenizerFast,
    steps: int,
    first_seed: int,
    lr: float = 1e-3,
) -> float:
    """Trains the text encoder on captions alone; 100 to 200 steps suffice.

    Args:
        encoder: Trained in place.
        reader: Trained in place.
        tokenizer: Of the model.
        steps: Steps of 256 captions, >= 0.
        first_seed: Seed of the first caption; the next ones follow.
        lr: Learning rate of AdamW; ten times it for the reader.

    Returns:
        Loss of the last step; 0 without steps.
    """
    groups = [
        {"params": list(encoder.parameters()), "lr": lr},
        {"params": list(reader.parameters()), "lr": 10 * lr},
    ]
    optimizer = torch.optim.AdamW(groups)
    device, last = reader.weight.device, 0.0
    for step in range(steps):
        seeds = torch.arange(_CAPTIONS) + first_seed + step * _CAPTIONS
        factors = sample_factors(seeds, _TWO_OBJECTS)
        named = [factors.named(i) for i in range(_CAPTIONS)]
        captions = write_captions(named[_FRAGMENTS:], seeds[_FRAGMENTS:])
        captions += write_fragments(named[:_FRAGMENTS], seeds[:_FRAGMENTS])
        tokens = tokenizer(captions, padding="max_length", return_tensors="pt").to(device)
        states = encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        loss = reading_loss(reader, states, word_labels(captions).to(device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        last = loss.item()
    return last
