"""Reading: every word of an object tells that object's factors, and the encoder learns it."""

import torch

from videosieve.shapes.text import ShapesTextEncoder, build_tokenizer
from videosieve.shapes.training.reading import Reader, learn_to_read, reading_loss, word_labels
from videosieve.shapes.world.captions import read_words
from videosieve.shapes.world.factors import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, SIZES

TWO = "on a grainy background a big red ball moves left while a blue plus stays still"


def test_words_know_their_object():
    said = [(word.place, word.factor, word.value, word.thing) for word in read_words(TWO)]
    assert said == [
        (2, "background", "noisy", -1),
        (5, "size", "large", 0),
        (6, "colour", "red", 0),
        (7, "shape", "circle", 0),
        (9, "motion", "left", 0),
        (12, "colour", "blue", 1),
        (13, "shape", "cross", 1),
        (15, "motion", "still", 1),
    ]


def test_labels_stand_at_the_words_of_their_object_and_nowhere_else():
    labels = word_labels([TWO, ""])
    red = [SHAPES.index("circle"), COLOURS.index("red"), SIZES.index("large"), MOTIONS.index("left"), -1]
    blue = [SHAPES.index("cross"), COLOURS.index("blue"), -1, MOTIONS.index("still"), -1]
    assert all(labels[0, place + 1].tolist() == red for place in (5, 6, 7, 9))
    assert all(labels[0, place + 1].tolist() == blue for place in (12, 13, 15))
    assert labels[0, 3].tolist() == [-1, -1, -1, -1, BACKGROUNDS.index("noisy")]
    silent = [place for place in range(24) if place - 1 not in (2, 5, 6, 7, 9, 12, 13, 15)]
    assert (labels[0, silent] == -1).all()
    assert (labels[1] == -1).all()


def test_the_loss_is_that_of_guessing_at_first_and_zero_without_labels():
    reader, labels = Reader(8), word_labels([TWO])
    states = torch.randn(1, 24, 8, generator=torch.Generator().manual_seed(0))
    guess = sum(torch.tensor(float(n)).log() for n in (5, 8, 2, 6, 5))
    torch.testing.assert_close(reading_loss(reader, states, labels), guess)
    assert reading_loss(reader, states, word_labels([""])).item() == 0


def test_an_encoder_learns_which_words_belong_together():
    torch.manual_seed(0)
    encoder, reader = ShapesTextEncoder(width=32, layers=2, heads=2), Reader(32)
    parts = (encoder, reader, build_tokenizer())
    first = learn_to_read(*parts, steps=1, first_seed=0)
    assert learn_to_read(*parts, steps=12, first_seed=256, lr=3e-3) < 0.8 * first
    assert learn_to_read(*parts, steps=0, first_seed=0) == 0
