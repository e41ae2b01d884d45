"""A small grammar: factors to captions, captions back to factors, and a check of a user's words.

    a small red circle moves left and a large blue square stays still over a striped background
    over a noisy background an orange star orbits clockwise

Size and background may be left out; then the model is free to choose them.
"""

import difflib
import re
from dataclasses import dataclass

import torch

from videosieve.errors import PromptError
from videosieve.shapes.world.factors import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, Factors, ObjectFactors
from videosieve.shapes.world.seeds import Stream, uniforms

MAX_TOKENS = 24  # with bos and eos
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")

_SHAPE_WORDS = {"circle": ("disc", "ball"), "square": ("box",), "cross": ("plus",)}
_SIZE_WORDS = {"small": ("little", "tiny"), "large": ("big",)}
_BACKGROUND_WORDS = {"plain": ("solid",), "checkered": ("checked",), "noisy": ("grainy",)}
_STRAIGHT = ("moves", "moves", "moving", "slides", "drifts")
_MOTION_PHRASES = {
    **{motion: tuple(f"{verb} {motion}" for verb in _STRAIGHT) for motion in ("left", "right", "up", "down")},
    "clockwise": ("orbits clockwise", "orbits clockwise", "moves clockwise", "orbiting clockwise"),
    "still": ("stays still", "stays still", "is still", "staying still"),
}
_EXTRA_PHRASES = {"left": "moves to the left", "right": "moves to the right", "up": "rises", "down": "falls"}
_PREPOSITIONS = ("over", "on")
_JOINERS = ("and", "while")


def _synonyms(words: tuple[str, ...], table: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {alias: word for word in words for alias in (word, *table.get(word, ()))}


_TO_SHAPE = _synonyms(SHAPES, _SHAPE_WORDS)
_TO_SIZE = _synonyms(("small", "large"), _SIZE_WORDS)
_TO_BACKGROUND = _synonyms(BACKGROUNDS, _BACKGROUND_WORDS)
_TO_MOTION = {**{motion: motion for motion in MOTIONS}, "rises": "up", "falls": "down"}
_GLUE = ("a", "an", "the", "to", "over", "on", "background", "and", "while")
_VERBS = ("moves", "moving", "slides", "drifts", "orbits", "orbiting", "stays", "staying", "is")

WORDS: tuple[str, ...] = (*_GLUE, *_TO_SHAPE, *COLOURS, *_TO_SIZE, *_VERBS, *_TO_MOTION, *_TO_BACKGROUND)
VOCABULARY: tuple[str, ...] = (*SPECIAL, *WORDS)


def split_words(prompt: str) -> list[str]:
    """Splits a prompt into lower-case words; punctuation is dropped."""
    return re.findall(r"[^\s.,;:!?\"()]+", prompt.lower())


def check_prompt(prompt: str) -> None:
    """Refuses a prompt that the closed vocabulary cannot express.

    Args:
        prompt: The caption; the empty string asks for "anything".

    Raises:
        PromptError: If a word is unknown (the message names the nearest known words) or there are too many words.
    """
    words = split_words(prompt)
    unknown = list(dict.fromkeys(word for word in words if word not in WORDS))
    if unknown:
        hints = []
        for word in unknown:
            near = difflib.get_close_matches(word, WORDS, n=3, cutoff=0.5)
            hints.append(f"{word!r} (near: {', '.join(near)})" if near else f"{word!r}")
        raise PromptError(
            f"shapes models know {len(WORDS)} words; unknown: {', '.join(hints)}. "
            f"Known words: {', '.join(sorted(WORDS))}"
        )
    if len(words) > MAX_TOKENS - 2:
        raise PromptError(
            f"a shapes caption has at most {MAX_TOKENS - 2} words, got {len(words)}; describe one or two objects "
            "and a background"
        )


class _Choice:
    """Takes one number after the other from a caption's draws."""

    def __init__(self, numbers: list[float]) -> None:
        self.numbers = numbers

    def chance(self, share: float) -> bool:
        return self.numbers.pop() < share

    def one(self, options: tuple[str, ...]) -> str:
        return options[int(self.numbers.pop() * len(options))]

    def word(self, name: str, table: dict[str, tuple[str, ...]]) -> str:
        number = self.numbers.pop()
        aliases = table.get(name, ())
        return name if number < 0.7 or not aliases else aliases[int((number - 0.7) / 0.3 * len(aliases))]


def _object_phrase(thing: ObjectFactors, choice: _Choice) -> str:
    say_size = not choice.chance(0.1) and thing.size is not None
    size = choice.word(thing.size or "", _SIZE_WORDS)
    noun = [word for word in (size if say_size else None, thing.colour) if word]
    noun.append(choice.word(thing.shape or "", _SHAPE_WORDS))
    phrase = choice.one(_MOTION_PHRASES[thing.motion or "still"])
    if choice.chance(0.1):
        phrase = _EXTRA_PHRASES.get(thing.motion or "", phrase)
    return f"{_with_article(' '.join(noun))} {phrase}"


def _write(factors: Factors, numbers: list[float]) -> str:
    choice = _Choice(list(numbers))
    joiner = f" {choice.one(_JOINERS)} "
    preposition, background = (
        choice.one(_PREPOSITIONS),
        choice.word(factors.background or "", _BACKGROUND_WORDS),
    )
    background_first, silent = choice.chance(0.3), choice.chance(0.1)
    things = list(factors.objects)
    if choice.chance(0.5):
        things.reverse()
    body = joiner.join(_object_phrase(thing, choice) for thing in things)
    if factors.background is None or silent:
        return body
    where = f"{preposition} a {background} background"
    return f"{where} {body}" if background_first else f"{body} {where}"


def write_captions(factors: list[Factors], seeds: torch.Tensor) -> list[str]:
    """Describes clips in words; wording, order and what is left unsaid follow from the seed.

    Args:
        factors: What the clips show.
        seeds: int64 seeds [len(factors)].

    Returns:
        Captions that `check_prompt` accepts.
    """
    rows = uniforms(seeds, 24, Stream.CAPTION).tolist()
    return [_write(factor, row) for factor, row in zip(factors, rows, strict=True)]


def write_fragments(factors: list[Factors], seeds: torch.Tensor) -> list[str]:
    """Names parts of clips: one object, all objects, or the background, without motions.

    A model that saw only whole sentences has no place for the short phrases of people and of saliency concepts.

    Args:
        factors: What the clips show; backgrounds are known.
        seeds: int64 seeds [len(factors)].

    Returns:
        Captions such as "red circle", "a small blue star and a green square" or "striped background".
    """
    rows = uniforms(seeds, 16, Stream.FRAGMENT).tolist()
    return [_fragment(factor, row) for factor, row in zip(factors, rows, strict=True)]


def _fragment(factors: Factors, numbers: list[float]) -> str:
    choice = _Choice(list(numbers))
    with_article, only_background, everything = choice.chance(0.5), choice.chance(0.3), choice.chance(0.3)
    joiner, things = f" {choice.one(_JOINERS[:1])} ", list(factors.objects)
    if choice.chance(0.5):
        things.reverse()
    nouns = [choice.word(factors.background or "", _BACKGROUND_WORDS) + " background"]
    if not only_background:
        nouns = [_noun(thing, choice) for thing in (things if everything else things[:1])]
    return joiner.join(_with_article(noun) if with_article else noun for noun in nouns)


def _noun(thing: ObjectFactors, choice: _Choice) -> str:
    size = choice.word(thing.size or "", _SIZE_WORDS) if choice.chance(0.5) and thing.size else ""
    words = (size, thing.colour, choice.word(thing.shape or "", _SHAPE_WORDS))
    return " ".join(word for word in words if word)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


# consumed from the end: joiner, preposition, background word, background first?, silent?, swap?, then per object
# (silent size?, size word, shape word, motion phrase, extra phrase?)
_PLAIN = [0.99, 0.0, 0.0, 0.0, 0.99] * 2 + [0.99, 0.99, 0.99, 0.0, 0.0, 0.0]


def plain_caption(factors: Factors) -> str:
    """The caption of `factors` in the grammar's plainest words, objects in order, nothing left out."""
    return _write(factors, _PLAIN)


@dataclass(frozen=True)
class CaptionWord:
    """One word of a caption that says something.

    Args:
        place: Its index among the caption's words.
        factor: What it speaks of: "shape", "colour", "size", "motion" or "background".
        value: What it says, in the names of videosieve.shapes.world.factors.
        thing: Which object it belongs to, 0 or 1 in the order of the caption; -1 for the background.
    """

    place: int
    factor: str
    value: str
    thing: int


_MEANINGS: dict[str, tuple[str, str]] = {
    **{word: ("shape", value) for word, value in _TO_SHAPE.items()},
    **{word: ("colour", word) for word in COLOURS},
    **{word: ("size", value) for word, value in _TO_SIZE.items()},
    **{word: ("motion", value) for word, value in _TO_MOTION.items()},
    **{word: ("background", value) for word, value in _TO_BACKGROUND.items()},
}


def read_words(prompt: str) -> list[CaptionWord]:
    """Reads a caption word by word; an object begins with the first size, colour or shape after a shape.

    Args:
        prompt: A caption; words that say nothing, and unknown ones, are skipped.

    Returns:
        The words that say something, in order.
    """
    words, thing, has_shape = [], 0, False
    for place, word in enumerate(split_words(prompt)):
        factor, value = _MEANINGS.get(word, ("", ""))
        if factor in ("size", "colour", "shape") and has_shape:
            thing, has_shape = thing + 1, False
        has_shape = has_shape or factor == "shape"
        if factor:
            words.append(CaptionWord(place, factor, value, -1 if factor == "background" else thing))
    return words


def parse_caption(prompt: str) -> Factors:
    """Reads the factors back out of a caption.

    Args:
        prompt: A caption in known words; any order of the parts.

    Returns:
        The factors; what the caption does not say is None.

    Raises:
        PromptError: If a word is unknown, or the caption names no object or more than two.
    """
    check_prompt(prompt)
    things: dict[int, dict[str, str]] = {}
    for word in read_words(prompt):
        things.setdefault(word.thing, {})[word.factor] = word.value
    background = things.pop(-1, {}).get("background")
    objects = [thing for thing in things.values() if "shape" in thing]
    if not 1 <= len(objects) <= 2:
        raise PromptError(f"a shapes caption names one or two objects, got {len(objects)} in {prompt!r}")
    keys = ("shape", "colour", "size", "motion")
    return Factors(
        tuple(ObjectFactors(**{key: thing.get(key) for key in keys}) for thing in objects), background
    )
