"""Loops without a scheduler that stop midway, as generators and coroutines do, and let another one run."""

import asyncio
from itertools import pairwise

import pytest
import torch

from videosieve import sparsify
from videosieve.testing.pipelines import tiny_wan

STEPS = 5
MEMORIES = {
    "reuse": ("dense", {"dense_steps": 0, "reuse_range": 2, "reuse_start": 0.0, "reuse_stop": 1.0}),
    "adaspa": ("adaspa", {"dense_steps": 1}),
    "sieve": ("sieve", {"dense_steps": 1}),
    "svg": ("svg", {"dense_steps": 0.5}),
}


def noise(seed):
    return torch.randn(1, 16, 3, 6, 8, generator=torch.Generator().manual_seed(seed))


def text(seed):
    return torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def flow(transformer, x, sigma, number, guided):
    """Of one step; a function of its own, as people write it."""
    found = [
        transformer(x, (sigma * 1000).expand(1), text(seed), return_dict=False)[0]
        for seed in (number, number + 9)[: 1 + guided]
    ]
    return found[0] if len(found) == 1 else found[1] + 4 * (found[0] - found[1])


def euler(transformer, number, guided=False):
    """A video, step by step."""
    x, sigmas = noise(number), torch.linspace(1, 0, STEPS + 1)
    for here, there in pairwise(sigmas):
        x = x + (there - here) * flow(transformer, x, here, number, guided)
        yield x


async def request(transformer, number):
    """The same in a server."""
    video = None
    for video in euler(transformer, number):  # noqa: B007 - the last one is returned
        await asyncio.sleep(0)
    return video


def last_of(steps):
    *_, video = steps
    return video


def taking_turns(loops, offset):
    videos = [None] * len(loops)
    for _ in range(offset):
        videos[0] = next(loops[0])
    going = set(range(len(loops)))
    while going:
        for number in sorted(going):
            try:
                videos[number] = next(loops[number])
            except StopIteration:
                going.discard(number)
    return videos


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("offset", [0, 2])
@pytest.mark.parametrize("memory", MEMORIES)
def test_generators_that_take_turns_draw_what_each_draws_alone(memory, offset, guided, bare):
    pipe = tiny_wan()
    method, options = MEMORIES[memory]
    target = pipe.transformer if bare else pipe
    with sparsify(target, method, min_tokens=0, steps=STEPS, **options):
        alone = [last_of(euler(pipe.transformer, number, guided)) for number in range(3)]
    with sparsify(target, method, min_tokens=0, steps=STEPS, **options) as run:
        mixed = taking_turns([euler(pipe.transformer, number, guided) for number in range(3)], offset)
        records = run.trace.records
        again = last_of(euler(pipe.transformer, 0, guided))
    for one, other in zip([*mixed, again], [*alone, alone[0]], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    seen = [(r.step, r.branch) for r in records if r.layer == 0]
    names = ("cond", "uncond")[: 1 + guided]
    assert sorted(seen) == sorted(3 * [(step, name) for step in range(STEPS) for name in names])
    assert len({r.generation for r in records}) == 3


@pytest.mark.parametrize("memory", MEMORIES)
def test_requests_of_an_event_loop_draw_what_each_draws_alone(memory):
    transformer = tiny_wan().transformer
    method, options = MEMORIES[memory]

    async def together():
        return await asyncio.gather(*(request(transformer, number) for number in range(3)))

    with sparsify(transformer, method, min_tokens=0, steps=STEPS, **options):
        alone = [last_of(euler(transformer, number)) for number in range(3)]
        mixed = asyncio.run(together())
    torch.testing.assert_close(mixed, alone, rtol=0, atol=0)


def test_a_generator_expression_in_every_step_is_no_loop_of_its_own():
    transformer = tiny_wan().transformer
    x = noise(0)
    with sparsify(transformer, "svg", min_tokens=0, dense_steps=0.5, steps=4) as run, torch.no_grad():
        for time in (1000.0, 700.0, 400.0, 100.0):
            for _ in (transformer(x, torch.tensor([time]), text(seed)) for seed in (0, 1)):
                pass
    seen = [(r.step, r.branch, r.action) for r in run.trace.records if r.layer == 0]
    assert seen == [
        (step, name, "dense" if step < 2 else "sparse") for step in range(4) for name in ("cond", "uncond")
    ]


def test_walks_of_generators_that_are_over_go():
    transformer = tiny_wan().transformer
    with sparsify(transformer, "adaspa", min_tokens=0, dense_steps=1, steps=STEPS) as run:
        for _ in range(3):
            taking_turns([euler(transformer, number) for number in range(3)], 1)
        last_of(euler(transformer, 0))
        first = run.memory().states
        last_of(euler(transformer, 0))
        assert run.memory().states == first
