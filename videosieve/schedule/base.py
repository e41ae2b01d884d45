"""What a schedule is: a pure function from site to action."""

from abc import ABC, abstractmethod
from enum import Enum

from videosieve.call import Site


class Action(Enum):
    """What to do at a site."""

    DENSE = "dense"
    SPARSE = "sparse"


class Schedule(ABC):
    """One answer to *when*. Subclasses are frozen dataclasses."""

    @abstractmethod
    def action(self, site: Site) -> Action:
        """What happens at `site`. Pure: the same site always gives the same action."""
