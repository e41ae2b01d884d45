"""One training run of a shapes model: weights, optimizers, averages and counters, one step at a time."""

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
from torch import nn

from videosieve.errors import ModelError
from videosieve.fields import Fraction, In, Whole, check_fields, from_table, shown
from videosieve.shapes.checkpoint import (
    config_of,
    module_tensors,
    optimizer_tensors,
    read_checkpoint,
    restore_module,
    restore_optimizer,
    write_checkpoint,
)
from videosieve.shapes.model import SIZES, build_networks
from videosieve.shapes.training.objective import draw_batch, flow_loss
from videosieve.shapes.training.phases import PHASES, Phase
from videosieve.shapes.training.precision import bfloat16_pays
from videosieve.shapes.training.reading import Reader, learn_to_read
from videosieve.shapes.training.transfer import transfer
from videosieve.shapes.weights import load_shapes

Rate = Annotated[float, In("(0, inf)")]


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Args:
        model: A key of videosieve.shapes.model.SIZES.
        seed: Of the initial weights and of the data.
        minutes: Budget in minutes of stepping; pauses do not count.
        samples: Budget in samples instead; makes a run repeatable, 0 means "use minutes".
        lr: Peak learning rate of AdamW.
        muon_lr: Peak learning rate of Muon, in AdamW's terms ("match_rms_adamw").
        decay_from: Share of the budget after which the rate falls to 2 %.
        warmup: Samples of linear warm-up.
        muon: Muon instead of AdamW for the hidden matrices; None: where bfloat16 is the faster arithmetic, for torch's
            Muon orthogonalises in it.
        bf16: bfloat16 autocast; None: where that is the faster arithmetic, see videosieve.shapes.training.precision.
        compile: torch.compile the blocks.
        device: torch device.
        reading_steps: Steps on captions alone before the first video; see videosieve.shapes.training.reading.
        reading_weight: Weight of the reading loss beside the video's.
        start: Model to take the first weights from: a bundled model or a folder; empty: random weights.
        phases: What to train on, in order.

    Raises:
        ModelError: A value is outside its range, or the device cannot be used.
    """

    model: str = "shapes-s"
    seed: Annotated[int, In("[0, 268435456]", "must lie in [0, 2^28]")] = 0
    minutes: Annotated[float, In("[0, inf)")] = 90.0
    samples: Whole = 0
    lr: Rate = 1.5e-3
    muon_lr: Rate = 4e-3
    decay_from: Fraction = 0.65
    warmup: Whole = 2000
    muon: bool | None = False
    bf16: bool | None = None
    compile: bool = True
    device: str = "cpu"
    reading_steps: Whole = 200
    reading_weight: Annotated[float, In("[0, inf)")] = 0.02
    start: str = ""
    phases: tuple[Phase, ...] = field(default=PHASES)

    def __post_init__(self) -> None:
        check_fields(self, ModelError)
        if not self.samples and not self.minutes:
            raise ModelError(
                f"minutes must be above 0, or samples at least 1; got {self.minutes=}, {self.samples=}"
            )
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0][:200]
            raise ModelError(
                f"device {shown(self.device)} cannot be used: {reason}; train on cpu or cuda"
            ) from error


@dataclass(frozen=True)
class _Counters:
    """Where a run is, as its checkpoint tells."""

    count: Whole
    samples: Whole
    spent: Annotated[float, In("[0, inf)")]
    recent: list[float]


_SLOWEST_STEP = 3.0  # a step counts at most this many times the recent median: pauses are free


class Trainer:
    """Weights, optimizers, averages and counters of one run; `step` advances them.

    Attributes:
        config: How it trains, with `bf16` and `muon` decided.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.device = torch.device(config.device)
        self.config = config = decide_arithmetic(config)
        self.networks = build_networks(config.model, config.seed)
        parts = (self.networks.transformer, self.networks.text_encoder)
        self.reader = Reader(parts[1].positions.embedding_dim)
        self.trained = nn.ModuleList((*parts, self.reader)).to(self.device).train()
        if config.start:
            transfer(load_shapes(config.start), self.networks)
        else:
            zero_modulation(self.networks.transformer)
        self.average = {key: value.clone() for key, value in self.trained.state_dict().items()}
        self.optimizers = make_optimizers(self.trained, config)
        self.count = self.samples = 0
        self.spent = 0.0
        self.recent: list[float] = []
        if config.compile:
            for block in (*parts[0].transformer_blocks, *parts[0].single_transformer_blocks):
                block.compile(dynamic=False)

    @property
    def progress(self) -> float:
        """Share of the budget that is spent."""
        config = self.config
        return self.samples / config.samples if config.samples else self.spent / (60 * config.minutes)

    def step(self) -> dict[str, float]:
        """Trains on one batch.

        Returns:
            Step number, samples so far, loss, reading loss, gradient norm, share of the peak rate, frames and seconds.
        """
        started = time.perf_counter()
        config, networks = self.config, self.networks
        if not self.count:
            self._read_first()
        phase = next((p for p in config.phases if self.progress < p.until), config.phases[-1])
        draw = phase.draw(config.seed, self.count)
        seeds = torch.arange(draw.batch) + self.samples + config.seed * 2**33
        pixels = SIZES[config.model].pixels
        parts = (networks.tokenizer, networks.codec, self.device)
        batch = draw_batch(seeds, draw.frames, pixels, phase, *parts)
        rate = self._rate()
        for optimizer, peak in zip(self.optimizers, (config.lr, config.muon_lr), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bool(config.bf16)):
            loss, words = flow_loss(networks, batch, self.reader)
        (loss + config.reading_weight * words).backward()
        norm = nn.utils.clip_grad_norm_(self.trained.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.count += 1
        self.samples += draw.batch
        self._update_average()
        row = {
            "loss": loss.item(),
            "words": words.item(),
            "norm": norm.item(),
            "rate": rate,
            "frames": draw.frames,
        }
        seconds = self._clock(time.perf_counter() - started)
        return {"step": self.count, "samples": self.samples, **row, "seconds": seconds, "spent": self.spent}

    def _read_first(self) -> None:
        seed = self.config.seed * 2**33 + 2**28  # captions that no batch of videos comes to
        parts = (self.networks.text_encoder, self.reader, self.networks.tokenizer)
        learn_to_read(*parts, self.config.reading_steps, seed)

    def _rate(self) -> float:
        warm = min(1.0, (self.samples + 1) / max(self.config.warmup, 1))
        fall = max(0.0, (self.progress - self.config.decay_from) / (1 - self.config.decay_from))
        return warm * (1 - 0.98 * min(fall, 1.0))

    def _update_average(self) -> None:
        # power-function average (Karras 2024): the last ~7 % of the steps, whatever their number
        keep = (1 - 1 / (self.count + 1)) ** 13
        state = self.trained.state_dict()
        for key, value in state.items():
            self.average[key].lerp_(value, 1 - keep)

    def _clock(self, seconds: float) -> float:
        usual = sorted(self.recent)[len(self.recent) // 2] if self.recent else seconds
        self.recent = [*self.recent[-20:], seconds]
        self.spent += min(seconds, _SLOWEST_STEP * usual)
        return seconds

    def save(self, path: Path) -> None:
        """Writes everything that `load` needs to go on exactly."""
        tensors = module_tensors(self.trained, "model")
        tensors |= {f"average.{key}": value for key, value in self.average.items()}
        for index, optimizer in enumerate(self.optimizers):
            tensors |= optimizer_tensors(optimizer, f"optimizer{index}")
        counters = {"count": self.count, "samples": self.samples, "spent": self.spent, "recent": self.recent}
        write_checkpoint(path, tensors, {**counters, "config": asdict(self.config)})

    def load(self, path: Path) -> None:
        """Goes on where `save` stopped.

        Raises:
            ModelError: If the file is no checkpoint of this model.
        """
        tensors, state = read_checkpoint(path)
        found = config_of(state, path)["model"]
        if found != self.config.model:
            raise ModelError(f"{path} holds {found!r}, not {self.config.model!r}; train into another folder")
        counters = {key: state[key] for key in ("count", "samples", "spent", "recent") if key in state}
        told = from_table(_Counters, counters, f"the state of {path}", ModelError)
        try:
            restore_module(self.trained, tensors, "model")
            for key in self.average:
                self.average[key].copy_(tensors[f"average.{key}"])
            for index, optimizer in enumerate(self.optimizers):
                restore_optimizer(optimizer, tensors, f"optimizer{index}")
        except (RuntimeError, KeyError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"{path} is incomplete or of another model: {reason}; train anew") from error
        self.count, self.samples, self.spent, self.recent = told.count, told.samples, told.spent, told.recent


def decide_arithmetic(config: TrainConfig) -> TrainConfig:
    """What the configuration leaves open, as this device likes it: bfloat16 where it pays, and Muon with it.

    Args:
        config: How to train.

    Returns:
        The same with `bf16` and `muon` decided.
    """
    if None not in (config.bf16, config.muon):
        return config
    pays = bfloat16_pays(torch.device(config.device))
    bf16, muon = (pays if choice is None else choice for choice in (config.bf16, config.muon))
    return replace(config, bf16=bf16, muon=muon)


def zero_modulation(transformer: nn.Module) -> None:
    """Starts every block as the identity and the output at zero (adaLN-zero)."""
    for name, module in transformer.named_modules():
        modulates = name.split(".")[-1] == "linear" and "norm" in name
        if isinstance(module, nn.Linear) and (modulates or name == "proj_out"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


def make_optimizers(trained: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for the hidden matrices and AdamW for the rest.

    Args:
        trained: What is trained.
        config: Learning rate and kind.

    Returns:
        One or two optimizers.

    Raises:
        ModelError: If Muon is asked for and this torch has none.
    """
    hidden, rest = [], []
    for name, parameter in trained.named_parameters():
        matrix = parameter.dim() == 2 and "block" in name and "norm" not in name
        (hidden if matrix and config.muon else rest).append(parameter)
    adamw = torch.optim.AdamW(rest, lr=config.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    if not hidden:
        return [adamw]
    if not hasattr(torch.optim, "Muon"):
        raise ModelError(f"Muon needs torch >= 2.9, got {torch.__version__}; train with muon=False")
    muon = torch.optim.Muon(hidden, lr=config.muon_lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    return [adamw, muon]
