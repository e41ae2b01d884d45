"""A log that work is resumed from: nothing noted is lost, and nothing foreign is touched."""

from pathlib import Path
from typing import Any

import pytest

from videosieve.errors import OutputError
from videosieve.files import AppendLog, append_log, name_differences


class Diary(AppendLog):
    """One line a day."""

    kind = "diary"
    version = 2
    elsewhere = "take another book"

    def explain(self, theirs: dict[str, Any], ours: dict[str, Any]) -> str:
        """Which entries of the header differ."""
        return f"is somebody else's ({name_differences(theirs, ours)})"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "diary.jsonl"


def test_every_line_is_there_again_in_order(path: Path):
    for day in range(3):
        with Diary(path, {"of": "Ann", "for": ("x", 1)}) as diary:
            assert [line["day"] for line in diary.lines] == list(range(day))
            diary.append({"day": day, "é": None})
    assert path.read_text().splitlines()[0] == '{"diary": 2, "of": "Ann", "for": ["x", 1]}'


def test_a_line_is_on_disk_when_append_returns(path: Path):
    with Diary(path, {}) as diary:
        diary.append({"day": 0})
        assert path.read_text().splitlines()[1:] == ['{"day": 0}']


@pytest.mark.parametrize("cut", [1, 5, 10, 11])
def test_a_torn_last_line_goes_wherever_it_was_torn(path: Path, cut: int):
    with Diary(path, {}) as diary:
        diary.append({"day": 0})
        whole = path.read_bytes()
        diary.append({"day": 1})
    path.write_bytes(path.read_bytes()[: len(whole) + cut - 1])
    with Diary(path, {}) as diary:
        assert diary.lines == [{"day": 0}]
        assert path.read_bytes() == whole
        diary.append({"day": 2})
    with Diary(path, {}) as diary:
        assert diary.lines == [{"day": 0}, {"day": 2}]


@pytest.mark.parametrize("cut", [0, 1, 12])
def test_a_torn_header_is_written_again(path: Path, cut: int):
    with Diary(path, {"of": "Ann"}):
        whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    with Diary(path, {"of": "Ann"}) as diary:
        assert diary.lines == []
    assert path.read_bytes() == whole


def test_other_work_is_refused_with_what_differs_and_left_as_it_is(path: Path):
    with Diary(path, {"of": "Ann", "year": 1, "room": 3}) as diary:
        diary.append({"day": 0})
    before = path.read_bytes()
    wanted = r"somebody else's \(of, year: of was 'Ann' and is 'Bob'\); or take another book$"
    with pytest.raises(OutputError, match=wanted):
        Diary(path, {"of": "Bob", "room": 3})
    assert path.read_bytes() == before


def test_two_processes_cannot_share_a_log_and_it_is_free_afterwards(path: Path):
    with Diary(path, {}), pytest.raises(OutputError, match="another process works on .*; wait for it"):
        Diary(path, {})
    with pytest.raises(OutputError, match="somebody else's"):
        Diary(path, {"of": "Ann"})
    with Diary(path, {}) as diary:
        assert diary.lines == []


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"hello\n", "is no diary"),
        (b"hello", "is no diary"),  # not even a line, and not the beginning of the header
        (b"\xff\xfe\n", "is no diary"),
        (b'{"diary": 1}\n', "is not a diary of version 2"),
        (b'{"letter": 2}\n', "is not a diary of version 2"),
        (b"[2]\n", "is not a diary of version 2"),
        (b'{"diary": 2}\nhello\n{"day": 1}\n', "is no diary"),
    ],
)
def test_other_files_are_refused_and_left_as_they_are(path: Path, content: bytes, wanted: str):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(OutputError, match=f"{wanted}.*; take another book"):
        Diary(path, {})
    assert path.read_bytes() == content


def test_a_full_disk_and_a_folder_in_the_way_are_output_errors(path: Path, monkeypatch: pytest.MonkeyPatch):
    path.mkdir(parents=True)
    with pytest.raises(OutputError, match=r"cannot be written \(Is a directory\); take another book"):
        Diary(path, {})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with Diary(path / "diary.jsonl", {}) as diary:
        monkeypatch.setattr(append_log.os, "fsync", full)
        with pytest.raises(OutputError, match="No space left on device"):
            diary.append({"day": 0})
        assert diary.lines == []
