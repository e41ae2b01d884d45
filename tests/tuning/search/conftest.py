"""A made-up screening and world, for all tests of the search."""

import pytest
from tuning_world import World, make_screen

from videosieve.tuning.search import Goal, Screen


@pytest.fixture
def screen() -> Screen:
    return make_screen()


@pytest.fixture
def world(screen: Screen) -> World:
    return World(screen)


@pytest.fixture
def goal() -> Goal:
    return Goal(psnr=30)
