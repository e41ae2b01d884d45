"""The factors of the shapes world: what a clip shows, as names and as ids."""

from dataclasses import dataclass

import torch

from videosieve.shapes.world.seeds import Stream, uniforms

SHAPES = ("circle", "square", "triangle", "star", "cross")
COLOURS = ("red", "green", "blue", "yellow", "white", "magenta", "cyan", "orange")
SIZES = ("small", "large")
MOTIONS = ("left", "right", "up", "down", "clockwise", "still")
BACKGROUNDS = ("plain", "striped", "checkered", "gradient", "noisy")

# RGB in [0, 1]; every pair is at least 0.4 apart, and every colour outshines every background
PALETTE = (
    (0.92, 0.08, 0.10),
    (0.10, 0.75, 0.15),
    (0.15, 0.25, 0.98),
    (0.97, 0.93, 0.10),
    (0.97, 0.97, 0.97),
    (0.90, 0.12, 0.85),
    (0.10, 0.85, 0.92),
    (0.98, 0.52, 0.05),
)


@dataclass(frozen=True)
class ObjectFactors:
    """One object, by name; None means "not asked for"."""

    shape: str | None
    colour: str | None
    size: str | None
    motion: str | None


@dataclass(frozen=True)
class Factors:
    """One clip: one or two objects over a background; None means "not asked for"."""

    objects: tuple[ObjectFactors, ...]
    background: str | None


@dataclass(frozen=True)
class FactorBatch:
    """Factors of a batch, as ids.

    Args:
        shape: Index into SHAPES [batch, 2]; the second column is meaningless where count is 1.
        colour: Index into COLOURS [batch, 2].
        size: Index into SIZES [batch, 2].
        motion: Index into MOTIONS [batch, 2].
        background: Index into BACKGROUNDS [batch].
        count: 1 or 2 objects [batch].
    """

    shape: torch.Tensor
    colour: torch.Tensor
    size: torch.Tensor
    motion: torch.Tensor
    background: torch.Tensor
    count: torch.Tensor

    def __len__(self) -> int:
        return len(self.count)

    def named(self, index: int) -> Factors:
        """Names the factors of clip `index`."""
        objects = tuple(
            ObjectFactors(
                SHAPES[int(self.shape[index, i])],
                COLOURS[int(self.colour[index, i])],
                SIZES[int(self.size[index, i])],
                MOTIONS[int(self.motion[index, i])],
            )
            for i in range(int(self.count[index]))
        )
        return Factors(objects, BACKGROUNDS[int(self.background[index])])


def is_held_out(colour: torch.Tensor, shape: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
    """Says which (colour, shape, motion) combinations training never sees: 24 of 240, by a fixed rule.

    Args:
        colour: Index into COLOURS [...].
        shape: Index into SHAPES [...].
        motion: Index into MOTIONS [...].

    Returns:
        bool [...].
    """
    return (colour + 2 * shape + 5 * motion) % 10 == 0


def sample_factors(
    seeds: torch.Tensor, two_objects: float = 0.5, held_out: bool = False, orbits: float = 0.0
) -> FactorBatch:
    """Draws factors for every seed; all combinations not excluded are about equally likely.

    Args:
        seeds: int64 seeds, >= 0 [batch].
        two_objects: Share of clips with two objects, in [0, 1].
        held_out: True draws first objects from the held-out combinations only, False avoids them.
        orbits: Share of clips, in [0, 1], in which every object orbits, beyond those where chance has it so.

    Returns:
        The factors, one row a seed.
    """
    u = uniforms(seeds, 11, Stream.FACTORS)
    pick = lambda column, n: (u[:, column] * n).long()  # noqa: E731
    colour = torch.stack([pick(0, 8), (pick(0, 8) + 1 + pick(1, 7)) % 8], 1)  # two objects never share one
    shape = torch.stack([pick(2, 5), pick(3, 5)], 1)
    size = torch.stack([pick(4, 2), pick(5, 2)], 1)
    motion = torch.stack([pick(6, 6), pick(7, 6)], 1)
    motion = torch.where(u[:, 10:] < orbits, MOTIONS.index("clockwise"), motion)
    wanted = torch.tensor([held_out, False], device=seeds.device)
    for turn in range(len(SHAPES) * len(MOTIONS)):  # walk on until the rule is met
        wrong = is_held_out(colour, shape, motion) != wanted
        motion = torch.where(wrong, (motion + 1) % len(MOTIONS), motion)
        if turn % len(MOTIONS) == len(MOTIONS) - 1:
            shape = torch.where(wrong, (shape + 1) % len(SHAPES), shape)
    count = 1 + (u[:, 9] < two_objects).long()
    return FactorBatch(shape, colour, size, motion, pick(8, 5), count)
