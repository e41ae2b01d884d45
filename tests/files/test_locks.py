"""One process at a time, told apart from what dead ones left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from videosieve.errors import ModelError, OutputError, VideosieveWarning
from videosieve.files import Claim, locks, sweep, whole_file
from videosieve.files.locks import LOCK

HOLD = """
import sys
from pathlib import Path
from videosieve.files import Claim, whole_file
folder = Path(sys.argv[1])
with Claim(folder), Claim(folder, "log"), whole_file(folder / "a.txt") as temporary:
    temporary.write_text("half")
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path: Path):
    """Another process that holds the folder and is writing a file in it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_refused_with_pid_and_folder(tmp_path: Path, other: "subprocess.Popen[str]"):
    words = rf"another process works on '{tmp_path}' \(pid {other.pid}\); wait for it, or go elsewhere"
    with pytest.raises(ModelError, match=words):
        Claim(tmp_path, elsewhere="go elsewhere", error=ModelError)
    with pytest.raises(OutputError, match=rf"'{tmp_path}/log' \(pid {other.pid}\)"):
        Claim(tmp_path, "log")
    with Claim(tmp_path, "another log"):
        pass


def test_what_lives_stays_and_what_is_dead_is_swept(tmp_path: Path, other: "subprocess.Popen[str]"):
    before = sorted(path.name for path in tmp_path.iterdir())
    assert len(before) == 3  # two locks and a room
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    other.kill()
    other.wait()
    (tmp_path / ".videosieve-mine").touch()
    (tmp_path / ".videosieve-part-of-mine").mkdir()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".videosieve-mine",
        ".videosieve-part-of-mine",
    ]


def test_a_dead_lock_is_nobodys(tmp_path: Path, other: "subprocess.Popen[str]"):
    other.kill()
    other.wait()
    assert (tmp_path / LOCK).is_file()
    with Claim(tmp_path):
        assert (tmp_path / LOCK).read_text().startswith(f"{os.getpid()} ")
    assert not (tmp_path / LOCK).exists()


def test_a_claim_excludes_others_of_its_process_until_it_is_released(tmp_path: Path):
    claim = Claim(tmp_path)
    with pytest.raises(OutputError, match=f"pid {os.getpid()}"):
        Claim(tmp_path)
    claim.release()
    claim.release()
    with Claim(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_holder_of_another_machine_is_named_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(locks.socket, "gethostname", lambda: "far")
    with Claim(tmp_path):
        monkeypatch.setattr(locks.socket, "gethostname", lambda: "near")
        with pytest.raises(OutputError, match=rf"pid {os.getpid()} on far"):
            Claim(tmp_path)


def test_without_locks_work_goes_on_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with pytest.warns(VideosieveWarning, match="no file can be locked"), Claim(tmp_path):
        pass
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
        sweep(tmp_path)  # who lives cannot be told, so only the old is dead
        assert temporary.is_file()
        os.utime(temporary.parent, (0, 0))
        sweep(tmp_path)
        assert not temporary.exists()
        temporary.parent.mkdir()
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_is_missing_is_refused(tmp_path: Path):
    with pytest.raises(OutputError, match="cannot be written .*No such file"):
        Claim(tmp_path / "none")
