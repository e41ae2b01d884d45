"""What a method answers is looked at: nothing kept, something else than an answer, masks for another call."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

import videosieve
from videosieve import BlockMask, BlockSize, Recipe, RecipeError, Run, Selection, ShapeError
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods import Method, ask
from videosieve.methods.base import TokenOrder
from videosieve.schedule import DenseFirst
from videosieve.testing.factories import ODD_LAYOUT, make_call

TOKENS = ODD_LAYOUT.tokens  # 75
BLOCK = BlockSize(16, 16)


@dataclass(frozen=True)
class Answering(Method):
    """A method that answers what it is told."""

    name: ClassVar[str] = "answering"
    answer: Any

    def select(self, call, state):
        return self.answer


def keep_all_but(*rows):
    keep = torch.ones(1, 2, 5, 5, dtype=torch.bool)
    for row in rows:
        keep[row] = False
    return BlockMask(keep, BLOCK, TOKENS)


def ragged(keep, sizes_of_queries, sizes_of_keys):
    offsets = [torch.tensor([[[0, *sizes]]]).cumsum(-1) for sizes in (sizes_of_queries, sizes_of_keys)]
    return RaggedBlockMask(torch.tensor(keep)[None, None], *offsets, TOKENS)


NOTHING = {
    "no block at all": (keep_all_but((...,)), "10 of 10 rows of blocks, the first at batch=0, head=0, row=0"),
    "one row of one head": (
        keep_all_but((0, 1, 3)),
        "1 of 10 rows of blocks, the first at batch=0, head=1, row=3",
    ),
    "the partial last row": (
        keep_all_but((0, 0, 4)),
        "1 of 10 rows of blocks, the first at batch=0, head=0, row=4",
    ),
    "one of two heads": (keep_all_but((0, 1)), "5 of 10 rows of blocks, the first at batch=0, head=1, row=0"),
    "ragged": (
        ragged([[True, True], [False, False]], [70, 5], [30, 45]),
        "1 of 2 rows of blocks, the first at batch=0, head=0, row=1",
    ),
    "only a block without keys": (
        ragged([[True, False], [True, True]], [70, 5], [0, 75]),
        "1 of 2 rows of blocks, the first at batch=0, head=0, row=0",
    ),
}


def run_of(method):
    recipe = replace(Recipe.of("dense"), method=method, schedule=DenseFirst(0, 0), min_tokens=0)
    return Run(recipe)


@pytest.mark.parametrize("name", NOTHING)
def test_a_method_that_keeps_nothing_for_some_query_is_refused(name):
    mask, where = NOTHING[name]
    call, method = make_call(), Answering((Selection(mask), None))
    message = f"every query must keep a key, but Answering selects nothing for {where}"
    with pytest.raises(ShapeError, match=message):
        videosieve.attention(call.q, call.k, call.v, ODD_LAYOUT, method)
    with pytest.raises(ShapeError, match=message):
        run_of(method).attend(call)


def test_rows_without_queries_may_keep_nothing():
    mask = ragged([[True, True], [False, False]], [75, 0], [30, 45])
    assert ask(Answering((Selection(mask), "state")), make_call(), None)[1] == "state"


def test_a_mask_is_looked_at_once():
    mask = keep_all_but()
    method, call = Answering((Selection(mask), None)), make_call()
    ask(method, call, None)
    mask.keep[:] = False  # which nobody may do; it shows that the second call does not look
    ask(method, call, None)


OTHER_ANSWERS = {
    "nothing": (None, "got NoneType"),
    "a selection alone": (Selection(keep_all_but()), "got Selection"),
    "a mask": (keep_all_but(), "got BlockMask"),
    "a mask and a state": ((keep_all_but(), None), r"got \(BlockMask, NoneType\)"),
    "three things": ((Selection(keep_all_but()), None, None), r"got \(Selection, NoneType, NoneType\)"),
    "one thing": ((None,), r"got \(NoneType\)"),
    "a list": ([Selection(keep_all_but()), None], "got list"),
    "a tensor": (torch.ones(2), "got Tensor"),
    "a number": (0.3, "got float"),
}


@pytest.mark.parametrize("name", OTHER_ANSWERS)
def test_a_method_that_answers_something_else_is_told_what_to_answer(name):
    answer, met = OTHER_ANSWERS[name]
    with pytest.raises(
        RecipeError, match=rf"Answering.select must return \(Selection or None, state\), {met}"
    ):
        ask(Answering(answer), make_call(), None)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (
            Selection(None),
            "the selection of Answering must hold a BlockMask or a RaggedBlockMask, got NoneType",
        ),  # pyright: ignore[reportArgumentType]
        (Selection(keep_all_but().keep), "must hold a BlockMask or a RaggedBlockMask, got Tensor"),  # pyright: ignore[reportArgumentType]
        (Selection(keep_all_but(), torch.arange(TOKENS)), "must be TokenOrder or None, got Tensor"),  # pyright: ignore[reportArgumentType]
        (Selection(keep_all_but(), key_order=[1, 0]), "must be TokenOrder or None, got list"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_a_selection_of_something_else_is_refused(selection, message):
    with pytest.raises(RecipeError, match=message):
        ask(Answering((selection, None)), make_call(), None)


@pytest.mark.parametrize(
    "selection",
    [
        Selection(BlockMask.dense(TOKENS + 1, BLOCK)),
        Selection(BlockMask.dense(TOKENS, BLOCK, TOKENS - 1)),
        Selection(BlockMask(torch.ones(1, 3, 5, 5, dtype=torch.bool), BLOCK, TOKENS)),
        Selection(BlockMask(torch.ones(2, 2, 5, 5, dtype=torch.bool), BLOCK, TOKENS)),
        Selection(keep_all_but(), TokenOrder(torch.zeros(TOKENS).long())),
        Selection(keep_all_but(), TokenOrder(torch.arange(TOKENS - 1))),
        Selection(keep_all_but(), key_order=TokenOrder(torch.arange(1, TOKENS + 1))),
        Selection(keep_all_but(), key_order=TokenOrder(torch.arange(TOKENS), heads=torch.ones(3, 3) > 0)),
    ],
    ids=["longer", "fewer keys", "other heads", "other batch", "repeated", "short", "past the end", "heads of order"],
)  # fmt: skip
def test_a_selection_for_another_call_is_refused(selection):
    call = make_call()
    with pytest.raises(ShapeError):
        videosieve.attention(call.q, call.k, call.v, ODD_LAYOUT, Answering((selection, None)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BlockMask([[True]], BLOCK, 5), "keep must be a Tensor, got keep"),  # pyright: ignore[reportArgumentType]
        (lambda: BlockMask(keep_all_but().keep.float(), BLOCK, TOKENS), "keep must be bool"),
        (lambda: BlockMask(keep_all_but().keep[:, :0], BLOCK, TOKENS), "at least one block on every axis"),
        (lambda: BlockMask(keep_all_but().keep.to_sparse(), BLOCK, TOKENS), "plain strided tensor"),
        (
            lambda: ragged([[True, True]], [75], [75]),
            r"key_offsets must be int64 \[batch, heads, 3\] for 2 blocks",
        ),
        (
            lambda: RaggedBlockMask(
                torch.ones(1, 2, 1, 1) > 0, torch.tensor([[[0, 75]] * 3]), torch.tensor([[[0, 75]]]), TOKENS
            ),
            r"query_offsets must share the batch and head axes of keep \[1, 2, 1, 1\]",
        ),
        (
            lambda: RaggedBlockMask(
                torch.ones(1, 2, 1, 1) > 0, torch.tensor([[[0, 75]]]), torch.tensor([[[0, 75]] * 3]), TOKENS
            ),
            r"key_offsets must share the batch and head axes of keep \[1, 2, 1, 1\]",
        ),
        (
            lambda: RaggedBlockMask(
                torch.ones(1, 1, 1, 1) > 0,
                torch.tensor([[[0, 75]] * 2]),
                torch.tensor([[[0, 75]] * 3]),
                TOKENS,
            ),
            "key_offsets must share the batch and head axes .* and of other offsets",
        ),
    ],
)
def test_masks_are_checked_where_they_are_made(make, message):
    with pytest.raises(ShapeError, match=message):
        make()
