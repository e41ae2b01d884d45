"""Denoising loops without a model: a stand-in for the transformer ticks a clock the way a hooked forward does."""

from contextlib import nullcontext
from types import FunctionType

import diffusers
import torch
from torch.nn import Module

from videosieve.integrations.diffusers.clock import Clock, follow_cache_context
from videosieve.integrations.diffusers.clock.positions import Times, read_times

ORDER = ("cond", "uncond")
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
FAMILIES = {
    "UniPC": lambda: diffusers.UniPCMultistepScheduler(**FLOW),
    "DPM++ 2M": lambda: diffusers.DPMSolverMultistepScheduler(),
    "DPM++ 2M inverse": lambda: diffusers.DPMSolverMultistepInverseScheduler(),
    "DPM++ 2S": lambda: diffusers.DPMSolverSinglestepScheduler(lower_order_final=True),
    "DEIS": lambda: diffusers.DEISMultistepScheduler(),
    "Euler": lambda: diffusers.EulerDiscreteScheduler(),
    "Euler ancestral": lambda: diffusers.EulerAncestralDiscreteScheduler(),
    "Heun": lambda: diffusers.HeunDiscreteScheduler(),
    "KDPM2": lambda: diffusers.KDPM2DiscreteScheduler(),
    "KDPM2 ancestral": lambda: diffusers.KDPM2AncestralDiscreteScheduler(),
    "LCM": lambda: diffusers.LCMScheduler(),
    "TCD": lambda: diffusers.TCDScheduler(),
    "IPNDM": lambda: diffusers.IPNDMScheduler(),
    "PNDM": lambda: diffusers.PNDMScheduler(skip_prk_steps=True),
    "DDIM": lambda: diffusers.DDIMScheduler(),
    "DDPM": lambda: diffusers.DDPMScheduler(),
    "DDIM inverse": lambda: diffusers.DDIMInverseScheduler(),
    "CogVideoX DDIM": lambda: diffusers.CogVideoXDDIMScheduler(),
    "flow Euler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    "flow Euler inverted": lambda: diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
    "flow Heun": lambda: diffusers.FlowMatchHeunDiscreteScheduler(shift=3.0),
    "flow LCM": lambda: diffusers.FlowMatchLCMScheduler(shift=3.0),
}
BY_VALUE = {"PNDM", "DDIM", "DDPM", "DDIM inverse", "CogVideoX DDIM"}
"""Families that do not count their steps."""
REPEATS = {"Heun", "KDPM2", "KDPM2 ancestral", "flow Heun", "PNDM"}
"""Families whose list has a timestep several times."""


class Broken(Exception):
    """What goes wrong in a forward."""


class Begins:
    """Stands for the run: notes which generations stay at every begin."""

    def __init__(self):
        self.kept = []

    def begin(self, keep=()):
        self.kept.append(set(keep))

    @property
    def count(self):
        return len(self.kept)


def _tick(model, args, kwargs):
    stamp, other = read_times(args[0])
    if stamp is None:
        times = Times.of(other)
    else:
        numbers = stamp.tolist()
        times = Times(*(numbers if len(numbers) == 4 else numbers * 4), dtype=other)
    model.now = model.clock.tick(model.component, times, model.order)[0]


def _done(model, args, output):
    model.clock.done(model.component)


def as_the_library(function):
    """The clock looks past frames of the library, which the hooks of a real transformer are."""
    return FunctionType(function.__code__, {**globals(), "__name__": "videosieve.integrations.stand_in"})


class Model(Module):
    """Stands for a hooked transformer; `said` is what the clock said of its forwards."""

    def __init__(self, clock, order=ORDER, component="transformer"):
        super().__init__()
        self.clock, self.order, self.component = clock, order, component
        self.said, self.now, self.breaks = [], None, False
        self.register_forward_pre_hook(as_the_library(_tick), with_kwargs=True)
        self.register_forward_hook(as_the_library(_done))
        follow_cache_context(self, clock.contexts)

    def forward(self, timestep):
        if self.breaks:
            self.breaks = False
            raise Broken
        self.said.append(self.now)
        return torch.zeros(1, 2, 2, 2)

    def cache_context(self, name, **details):
        return nullcontext()


def watched(order=ORDER, pipeline=None, steps=None):
    """A model with its clock, and what stands for its run."""
    begins = Begins()
    return Model(Clock(begins, pipeline, steps), order), begins


class Pipe:
    """A pipeline as diffusers writes them: scheduler and transformer as attributes, the loop in `__call__`."""

    def __init__(self, scheduler, transformer, guidance_scale=1.0):
        self.scheduler, self.transformer = scheduler, transformer
        self.guidance_scale = guidance_scale
        self._num_timesteps = None

    def times(self, steps, start=0):
        """The timesteps of a generation, those of a video-to-video one from `start` on."""
        self.scheduler.set_timesteps(steps)
        times = self.scheduler.timesteps[start:]
        if start and hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(start)
        self._num_timesteps = len(times)
        return times

    def __call__(self, steps, start=0, windows=1, dtype=None, each=None, contexts=False):
        sample = torch.ones(1, 2, 2, 2)
        for number, time in enumerate(self.times(steps, start)):
            for _ in range(windows):
                for name in ORDER[: 1 + (self.guidance_scale > 1)]:
                    with self.transformer.cache_context(name) if contexts else nullcontext():
                        output = self.transformer(stamp(time, dtype))
            sample = advance(self.scheduler, output, time, sample)
            if each is not None:
                each(self, number)
        return sample


def stamp(time, dtype=None):
    """A timestep as a pipeline hands it over: one value per batch item."""
    return (time if dtype is None else time.to(dtype)).expand(2)


def advance(scheduler, output, time, sample):
    """One step of a scheduler."""
    return scheduler.step(output, time, sample, return_dict=False)[0].detach()


def steps_of(said, branch=None):
    """Step and steps of what was said."""
    return [(one.step, one.steps) for one in said if branch in (None, one.branch)]


def names_of(said):
    """Generation, step, branch and pass of what was said."""
    return [(one.generation, one.step, one.branch, one.pass_number) for one in said]
