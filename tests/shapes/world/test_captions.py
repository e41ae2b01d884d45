"""Captions: in the vocabulary, short enough, and readable back into factors."""

import pytest
import torch

from videosieve.errors import PromptError
from videosieve.shapes.text import build_tokenizer
from videosieve.shapes.world.captions import (
    MAX_TOKENS,
    VOCABULARY,
    WORDS,
    check_prompt,
    parse_caption,
    plain_caption,
    read_words,
    split_words,
    write_captions,
    write_fragments,
)
from videosieve.shapes.world.factors import Factors, ObjectFactors, sample_factors

SEEDS = torch.arange(600)
BATCH = sample_factors(SEEDS)
NAMED = [BATCH.named(index) for index in range(len(SEEDS))]
CAPTIONS = write_captions(NAMED, SEEDS)


def _says(found: ObjectFactors, true: ObjectFactors) -> bool:
    return all(
        getattr(found, key) in (None, getattr(true, key)) for key in ("shape", "colour", "size", "motion")
    )


def test_sampled_captions_say_the_truth_and_nothing_else():
    for caption, factors in zip(CAPTIONS, NAMED, strict=True):
        read = parse_caption(caption)
        assert len(read.objects) == len(factors.objects), caption
        assert read.background in (None, factors.background)
        orders = (factors.objects, factors.objects[::-1])
        assert any(all(map(_says, read.objects, order)) for order in orders), caption


def test_colour_shape_and_motion_are_always_said():
    for caption in CAPTIONS:
        for thing in parse_caption(caption).objects:
            assert None not in (thing.colour, thing.shape, thing.motion), caption


def test_plain_captions_are_a_round_trip():
    for factors in NAMED:
        assert parse_caption(plain_caption(factors)) == factors
    star = Factors((ObjectFactors("star", "orange", "small", "clockwise"),), "noisy")
    assert plain_caption(star) == "a small orange star orbits clockwise over a noisy background"


def test_captions_fit_the_tokenizer_without_unknown_words():
    tokens = build_tokenizer()(CAPTIONS, padding="max_length", return_tensors="pt")
    assert tokens.input_ids.shape == (600, MAX_TOKENS)
    assert not (tokens.input_ids == VOCABULARY.index("<unk>")).any()
    length = tokens.attention_mask.sum(1)
    assert [len(split_words(caption)) + 2 for caption in CAPTIONS] == length.tolist()
    assert (tokens.attention_mask.diff(dim=1) <= 0).all()  # padding is at the tail
    assert (tokens.input_ids[:, 0] == VOCABULARY.index("<bos>")).all()


def test_every_word_of_the_vocabulary_is_used_and_unique():
    used = {word for caption in CAPTIONS for word in split_words(caption)}
    assert used == set(WORDS)
    assert len(set(VOCABULARY)) == len(VOCABULARY)


def test_wording_varies_but_follows_from_the_seed():
    assert write_captions(NAMED, SEEDS) == CAPTIONS
    same = [NAMED[0]] * 50
    assert len(set(write_captions(same, torch.arange(50)))) > 10


def test_punctuation_and_capitals_do_not_matter():
    check_prompt("A small red circle moves left, and a big BLUE box stays still.")
    plain, fancy = build_tokenizer()(["a red circle moves left", "A red circle: moves left!"]).input_ids
    assert plain == fancy


def test_unknown_words_are_named_with_their_neighbours():
    with pytest.raises(PromptError, match=r"'circel' \(near: circle"):
        check_prompt("a red circel moves left")
    with pytest.raises(PromptError, match="'qqqq'") as caught:
        check_prompt("a qqqq circle zzzz zzzz")
    assert str(caught.value).count("'zzzz'") == 1
    assert "Known words: a, an, and" in str(caught.value)


def test_long_prompts_are_refused():
    check_prompt(" ".join(["red"] * 22))
    with pytest.raises(PromptError, match="at most 22 words, got 23"):
        check_prompt(" ".join(["red"] * 23))


@pytest.mark.parametrize("prompt", ["over a plain background", "a circle and a star and a square"])
def test_a_caption_names_one_or_two_objects(prompt: str):
    with pytest.raises(PromptError, match="one or two objects"):
        parse_caption(prompt)


def test_what_is_not_said_is_not_asked():
    assert parse_caption("a star rises") == Factors((ObjectFactors("star", None, None, "up"),), None)


def test_fragments_name_a_part_and_nothing_false():
    fragments = write_fragments(NAMED, SEEDS)
    kinds = {"background": 0, "one": 0, "two": 0}
    for fragment, factors in zip(fragments, NAMED, strict=True):
        check_prompt(fragment)
        if fragment.endswith("background"):
            kinds["background"] += 1
            assert any(word.value == factors.background for word in read_words(fragment))
            continue
        found = parse_caption(fragment)
        kinds["one" if len(found.objects) == 1 else "two"] += 1
        for thing in found.objects:
            assert thing.motion is None
            assert any(_says(thing, true) for true in factors.objects), fragment
    assert 120 < kinds["background"] < 240
    assert kinds["two"] > 30
    assert kinds["one"] > 200
