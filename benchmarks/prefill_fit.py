"""Thresholds by head for `benchmarks.prefill`: the dynamic programme, on pages that no prompt of a row is made of."""

import random

import torch
from torch import Tensor

from benchmarks.prefill_rows import Fit
from benchmarks.prefill_tasks import ROOT, cut_words
from videosieve.integrations.transformers import sparsify
from videosieve.methods.searches.xattention_programme import Programme, XAttentionLevels, programme
from videosieve.prefill.models import LanguageModel

PROMPTS = 2
LEVELS = 24  # 0.99 × 0.9 ** 23 = 0.09


def fit(found: LanguageModel, asked: Fit, length: int) -> Programme:
    """Fit on prompts of a length, which thresholds depend on."""
    method = XAttentionLevels(start=asked.start, levels=LEVELS, stride=asked.stride)
    with torch.no_grad(), sparsify(found.model, method, min_tokens=0, recall_rows=0) as run:
        run.warns = False
        states: dict = {}
        for number in range(PROMPTS):
            found.model(
                prompt(found, length, number).to(found.model.device), logits_to_keep=1, use_cache=False
            )
            for place, state in run.states().items():  # a prefill forgets what the one before it has noted
                states[place] = state + states.get(place, 0)
    return programme(states, found.model.config.num_hidden_layers, asked.recall, asked.start)


def prompt(found: LanguageModel, length: int, number: int) -> Tensor:
    """Tokens of the pages about methods, int64 [1, length]; prompts of rows are made of the others."""
    pages = sorted((ROOT / "docs" / "methods").glob("*.md"))
    return torch.tensor([cut_words(found.tokenizer, pages, random.Random(f"fit {length} {number}"), length)])
