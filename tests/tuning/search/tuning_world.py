"""A made-up screening, and a world in which candidates have a true quality and speed that it predicts imperfectly."""

from dataclasses import replace
from math import log10

import torch

from videosieve.tuning.search import Candidate, Choice, Point, Screen
from videosieve.tuning.search.screen import harm_table, predicted_recall, saved_share

STEPS, LAYERS, GAPS = 12, 6, 4
LOOKED = (1, 4, 7, 10)


def make_screen(seed: int = 0) -> Screen:
    """Two families and caching; "good" has half the error of "poor" at a somewhat higher cost."""
    draw = torch.Generator().manual_seed(seed)

    def table(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=draw, dtype=torch.float64) + 0.5

    choices = []
    shape = (len(LOOKED), LAYERS)
    for family, scale, extra in (("good", 0.3, 0.08), ("poor", 0.6, 0.02)):
        for density in (0.1, 0.3, 0.5, 0.7):
            error = scale * (1 - density) ** 2 * table(*shape)
            recall = 1 - 0.5 * (1 - density) ** 2 * table(*shape)
            choices.append(Choice(family, density, error, recall, density + extra, density))
    drift = 0.1 * torch.arange(1, GAPS + 1)[:, None, None] * table(GAPS, STEPS, LAYERS)
    share = {"core": 0.05 * table(LAYERS), "attention": 0.09 * table(LAYERS)}
    harms = (0.01 * table(*shape), {"attention": 0.01 * table(*shape)})
    return Screen(
        LOOKED, tuple(choices), *harms, {"attention": drift}, share, torch.ones(STEPS).double(), 10.0
    )


class World:
    """Knows the truth: other tables, late steps harm less, saved time comes out smaller, prompts differ."""

    def __init__(self, screen: Screen, seed: int = 1, prompts: int = 2) -> None:
        draw = torch.Generator().manual_seed(seed)

        def shaken(x: torch.Tensor) -> torch.Tensor:
            return x * (0.7 + 0.6 * torch.rand(x.shape, generator=draw, dtype=torch.float64))

        self.truth = replace(
            screen,
            sparse_harm=shaken(screen.sparse_harm),
            reuse_harm={kind: shaken(table) for kind, table in screen.reuse_harm.items()},
        )
        self.prompts = prompts
        self.measured = 0

    def quality(self, candidate: Candidate) -> float:
        """PSNR, dB."""
        harm = harm_table(self.truth, candidate).sum(1) @ self.truth.weight(2.0) / STEPS
        return 9 - 8.5 * log10(float(harm) + 1e-9)

    def speedup(self, candidate: Candidate) -> float:
        """Dense ÷ own seconds."""
        return 1 / (1 - 0.8 * saved_share(self.truth, candidate))

    def measure(self, candidate: Candidate) -> Point:
        """What full generations would show."""
        self.measured += 1
        psnrs = tuple(self.quality(candidate) + (2 * i - 1) * 1.5 for i in range(self.prompts))
        recalls = (predicted_recall(self.truth, candidate),) * self.prompts
        seconds = 10 / self.speedup(candidate)
        return Point(candidate, psnrs, recalls, (seconds,) * self.prompts, (10.0, 10.0), 0.5, self.prompts)


class BroadcastWorld(World):
    """Broadcast by whole steps harms far less than the screening says, plans far more; method and broadcast multiply.

    The optimum is a broadcast with the method "good" where it computes; both alone are hand-written and slower.
    """

    written = (
        Candidate("good", 0.3, 3, 0, given="[method]\nname = 'svg'", label="sparse"),
        Candidate(reuse=2, start=2, stop=10, given="[schedule]\nreuse_range = 2", label="broadcast"),
    )

    def quality(self, candidate: Candidate) -> float:
        """PSNR, dB: 44 less what is reused, what is sparse, and much for plans."""
        sites = self.truth.sites(candidate)
        oldest = float(sites.gaps["attention"].max())
        reused = float((sites.gaps["attention"] > 0).double().mean())
        sparse = float(sites.sparse.double().mean())
        method = {"good": 6.0, "poor": 40.0}.get(candidate.family, 0.0) * (1.3 - candidate.knob)
        ragged = 15.0 if candidate.plan else 0.0
        return 44 - 8 * reused * max(oldest, 1.0) - sparse * method - ragged

    def all_pairs(self) -> list[Candidate]:
        """Every window with every density."""
        return [
            Candidate("good", knob, warm, 0, every, start, stop)
            for knob in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
            for warm in (0, 1, 2, 3)
            for every in (1, 2, 3, 4)
            for start in range(1, 6)
            for stop in range(9, STEPS + 1)
        ]
