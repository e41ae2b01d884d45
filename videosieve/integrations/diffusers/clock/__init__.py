"""Which forward is this? One clock, fed by small readers.

clock.py       Clock: names every forward
walks.py       the generation that runs along a scheduler: place, step, passes
positions.py   reader: the scheduler's own place, or the timestep in its list
callers.py     reader: who runs the loop, with which schedulers
contexts.py    reader: `cache_context`, guiders, guidance
moments.py     the forward's layout and batch items; the one read of the device
windows.py     reader: whether a context window has moved
texts.py       reader: the text of a forward that nobody names
turns.py       one forward at a time
stacks.py      Python's call stacks
"""

from videosieve.integrations.diffusers.clock.clock import Clock
from videosieve.integrations.diffusers.clock.contexts import follow_cache_context
from videosieve.integrations.diffusers.clock.moments import Moment, bind_forward, read_moment
from videosieve.integrations.diffusers.clock.turns import Turn

__all__ = ["Clock", "Moment", "Turn", "bind_forward", "follow_cache_context", "read_moment"]
