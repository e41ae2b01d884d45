"""The arithmetic of ConceptAttention against plain attention and the paper's equations as loops."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve.concepts import (
    attend_concepts,
    key_scores,
    linear_vectors,
    normalise_concepts,
    output_scores,
    scores,
    to_probabilities,
)
from videosieve.errors import PromptError

BATCH, HEADS, CONCEPTS, TOKENS, DIM = 2, 3, 4, 37, 8
SCALE = DIM**-0.5


def draw(*sizes):
    generator = torch.Generator().manual_seed(sum(sizes))
    return torch.randn(*sizes, generator=generator)


def make_concepts(batch=1):
    parts = draw(3, batch, HEADS, CONCEPTS, DIM)
    return parts[0], parts[1], parts[2]


def make_video():
    parts = draw(2, BATCH, HEADS, TOKENS, DIM)
    return parts[0], parts[1]


@pytest.mark.parametrize("slice_tokens", [5, 8192])
@pytest.mark.parametrize("batch", [1, BATCH])
def test_concepts_see_the_video_and_one_another(monkeypatch, slice_tokens, batch):
    monkeypatch.setattr(scores, "SLICE", slice_tokens)
    (q, k, v), (keys, values) = make_concepts(batch), make_video()
    whole = [torch.cat([x, y.expand(BATCH, -1, -1, -1)], 2) for x, y in ((keys, k), (values, v))]
    expected = scaled_dot_product_attention(q.expand(BATCH, -1, -1, -1), *whole, scale=SCALE)
    torch.testing.assert_close(attend_concepts((q, k, v), (keys, values), SCALE), expected)


@pytest.mark.parametrize("sight", ["video", "concepts", "none"])
def test_ablations_see_only_their_part(sight):
    (q, k, v), (keys, values) = make_concepts(), make_video()
    output = attend_concepts((q, k, v), (keys, values), SCALE, sight)
    own = scaled_dot_product_attention(q, k, v, scale=SCALE).expand(BATCH, -1, -1, -1)
    video = scaled_dot_product_attention(q.expand(BATCH, -1, -1, -1), keys, values, scale=SCALE)
    expected = {"video": video, "concepts": own, "none": v.expand(BATCH, -1, -1, -1)}[sight]
    torch.testing.assert_close(output, expected)


def test_scores_are_dot_products_over_all_heads(monkeypatch):
    monkeypatch.setattr(scores, "SLICE", 10)
    outputs, concepts = draw(BATCH, HEADS, TOKENS, DIM), draw(BATCH, HEADS, CONCEPTS, DIM)
    dots, means = output_scores(outputs, concepts), key_scores(outputs, concepts[:1], SCALE)
    for b, r, n in ((0, 0, 0), (1, 3, 36), (1, 2, 10)):
        flat = outputs[b, :, n].flatten()
        assert dots[b, r, n] == pytest.approx(float(flat @ concepts[b, :, r].flatten()), rel=1e-4)
        by_head = (outputs[b, :, n] * concepts[0, :, r]).sum(-1) * SCALE
        assert means[b, r, n] == pytest.approx(float(by_head.mean()), rel=1e-4)


def test_probabilities_sum_to_one_and_soften_with_temperature():
    raw = draw(BATCH, CONCEPTS, TOKENS) * 5
    sharp, soft = to_probabilities(raw), to_probabilities(raw, 10.0)
    torch.testing.assert_close(sharp.sum(1), torch.ones(BATCH, TOKENS))
    assert soft.amax(1).mean() < sharp.amax(1).mean()
    assert torch.equal(to_probabilities(raw[:, :1]), torch.ones(BATCH, 1, TOKENS))


@pytest.mark.parametrize(
    ("concepts", "message"),
    [
        ([], "at least one concept"),
        (["cat", " "], "none of them empty"),
        (["cat", "dog", " cat "], "'cat' came up again"),
        ("cat", "give \\['cat'\\]"),
        (["cat", 3], "must be words"),
    ],
)
def test_bad_concepts_are_refused(concepts, message):
    with pytest.raises(PromptError, match=message):
        normalise_concepts(concepts)


def test_white_space_is_taken_out():
    assert normalise_concepts([" red  circle", "sky"]) == ("red circle", "sky")


def test_linear_vectors_are_the_authors_normalisation_entry_by_entry():
    concepts = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    found = linear_vectors(concepts)
    for b, h, d in ((0, 0, 0), (1, 2, 4)):
        entries = concepts[b, h, :, d].tolist()
        above = [value - min(entries) for value in entries]
        assert found[b, h, :, d].tolist() == pytest.approx([value / sum(above) for value in above])
    torch.testing.assert_close(found.sum(2), torch.ones(2, 3, 5))
    assert not linear_vectors(torch.ones(1, 1, 3, 2)).any()  # equal everywhere: nothing to tell apart
