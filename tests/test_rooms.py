"""The picture of the rooms and their table are what the imports say today."""

import pytest

from docs import rooms
from docs.rooms_layout import draw, layers_of

STALE = "run python -m docs.rooms and commit what it writes"


def test_every_room_says_what_may_be_touched_there():
    folders = {room for room in rooms.read_rooms() if (rooms.PACKAGE / room).is_dir()}
    assert folders == set(rooms.TOUCH), "docs/rooms.py has a line for every room, and for nothing else"


def test_the_picture_shows_the_imports_of_today():
    found = rooms.read_rooms()
    folders = {room for room in found if (rooms.PACKAGE / room).is_dir()}
    assert rooms.PICTURE.read_text(encoding="utf-8") == draw(rooms.needed_lines(found), folders), STALE


def test_the_table_shows_the_rooms_of_today():
    page = rooms.PAGE.read_text(encoding="utf-8")
    assert page == rooms.fresh_page(page, rooms.read_rooms()), STALE


def test_imports_are_found_wherever_they_stand(tmp_path):
    file = tmp_path / "file.py"
    file.write_text(
        "import torch\nimport videosieve.trace\nfrom videosieve import METHODS\n"
        "from videosieve.tuning.search import Goal\n"
        "def f():\n    from videosieve.masks.block_mask import BlockMask\n"
    )
    found = {path.relative_to(rooms.PACKAGE).as_posix() for path in rooms.imported(file)}
    assert found == {"trace.py", "__init__.py", "tuning/search/__init__.py", "masks/block_mask.py"}
    assert rooms.room_of(rooms.PACKAGE / "tuning" / "search" / "goal.py") == "tuning/search"
    assert rooms.room_of(rooms.PACKAGE / "tuning" / "trials.py") == "tuning"


def test_a_line_is_left_out_where_a_third_room_stands_for_it():
    chain = {"roof": {"wall", "ground"}, "wall": {"ground"}, "ground": set(), "shed": {"ground"}}
    assert rooms.needed_lines(chain) == {**chain, "roof": {"wall"}}


def test_a_box_stands_above_all_that_it_stands_on_and_a_circle_is_refused():
    edges = {"a": {"b", "d"}, "b": {"c"}, "c": {"d"}, "d": set(), "e": {"d"}}
    assert layers_of(edges) == {"a": 3, "b": 2, "c": 1, "d": 0, "e": 1}
    assert draw(edges, {"a"}).count("<path") == 5
    with pytest.raises(ValueError, match=r"in a circle: \['a', 'b'\]"):
        layers_of({"a": {"b"}, "b": {"a"}, "c": set()})
