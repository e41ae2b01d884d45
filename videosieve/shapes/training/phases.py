"""What a training run shows its model, and when: few frames first, sixteen at last."""

from dataclasses import dataclass

import torch

from videosieve.shapes.world.seeds import Stream, generator_for


@dataclass(frozen=True)
class Draw:
    """One kind of batch.

    Args:
        frames: Frames out of 16 in a sample.
        batch: Samples in a step.
        share: How often it is drawn, in relation to the other draws of its phase.
    """

    frames: int
    batch: int
    share: float = 1.0


@dataclass(frozen=True)
class Phase:
    """What is trained on until a share of the budget is spent.

    Args:
        until: Share of the budget at which the phase ends, in (0, 1].
        draws: Kinds of batches, mixed at random. Two frames teach what a caption names (most captions a
            second), four how it moves, sixteen what is sampled in the end.
        two_objects: Share of clips with two objects.
        emphasis: Loss weight of objects; 1 is plain MSE.
        orbits: Share of clips in which every object orbits: the one motion whose sense is in no single direction, and
            the last to be learned.
        dropout: Share of captions that are left empty, for guidance.
        levels: Means of the normals behind sigma = sigmoid(normal + mean), drawn equally often. Where objects are and
            where they go is decided above sigma 0.93 (below, the noisy input shows it), so half of the samples are
            drawn about 0.95.
    """

    until: float
    draws: tuple[Draw, ...]
    two_objects: float = 0.5
    emphasis: float = 3.0
    orbits: float = 0.0
    dropout: float = 0.1
    levels: tuple[float, ...] = (1.1, 3.0)

    def draw(self, seed: int, step: int) -> Draw:
        """Chooses the kind of batch of a step; the same for the same seed and step."""
        generator = generator_for(seed * 2**33 + step, Stream.BATCH)
        shares = torch.tensor([draw.share for draw in self.draws])
        return self.draws[int(torch.multinomial(shares, 1, generator=generator))]


PHASES = (
    Phase(0.08, (Draw(2, 16),), 0.15),
    Phase(0.20, (Draw(4, 16),), 0.30),
    Phase(0.55, (Draw(2, 32, 0.5), Draw(4, 16, 0.4), Draw(16, 8, 0.1)), 0.40),
    Phase(0.72, (Draw(2, 32, 0.5), Draw(4, 16, 0.4), Draw(16, 8, 0.1)), 0.70),
    Phase(0.85, (Draw(2, 32, 0.15), Draw(4, 16, 0.4), Draw(16, 8, 0.45)), 0.60, 2.0),
    Phase(1.00, (Draw(4, 16, 0.2), Draw(16, 8, 0.8)), 0.60, 1.5),
)

# For a model that starts from its own earlier weights: long clips, two objects, orbits.
PHASES_ON = (
    Phase(0.45, (Draw(2, 32, 0.15), Draw(4, 16, 0.45), Draw(8, 8, 0.4)), 0.6, 2.5, 0.4),
    Phase(1.00, (Draw(8, 8, 0.4), Draw(16, 8, 0.6)), 0.6, 1.5, 0.25),
)

# For shapes-m, started from shapes-s: what captions mean is known, so few frames teach the new size and head. Four
# times the pixels show through twice the noise, so the means are higher by about log 2 (Hoogeboom 2023).
PHASES_M = (
    Phase(0.60, (Draw(2, 8, 0.5), Draw(4, 4, 0.5)), 0.50, levels=(1.6, 3.6)),
    Phase(1.00, (Draw(4, 4, 0.4), Draw(16, 2, 0.6)), 0.60, 1.5, levels=(1.6, 3.6)),
)

# For shapes-m, started from its own earlier weights: what it lacks shows in long clips.
PHASES_M_ON = (
    Phase(0.35, (Draw(2, 8, 0.25), Draw(4, 4, 0.35), Draw(8, 4, 0.4)), 0.55, 2.0, 0.15, levels=(1.6, 3.6)),
    Phase(1.00, (Draw(8, 4, 0.4), Draw(16, 2, 0.6)), 0.55, 1.5, 0.15, levels=(1.6, 3.6)),
)
