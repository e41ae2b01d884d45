"""Kills commands at random moments, runs each again until it ends, and counts what was lost, torn or left behind.

    python -m benchmarks.robustness.kills --kills 240

A command runs in a fork of this process, which has loaded everything, and is killed (SIGKILL) at a random time of its
run, or at a random one of its moments between two operations on files. Then the same command runs again, and may be
killed again. What was finished must still be there; what comes out must equal an undisturbed run.
"""

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.robustness.kill_programs import PROMPTS, Program, corrupt, left_behind, programs

MARK = "VIDEOSIEVE_KILL_TRIAL"
EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")
PATIENCE = 60.0  # seconds for the processes of a killed one to end
STUCK = 900.0  # seconds


@dataclass
class Tally:
    """What became of one command.

    Attributes:
        kills: How often it was killed.
        ended: How often it came to its end.
        faults: What went wrong, by kind, and what was met.
    """

    kills: int = 0
    ended: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)

    def fault(self, kind: str, what: object) -> None:
        self.faults[kind] += 1
        self.told.append(f"{kind}: {str(what)[-600:]}")


FAULTS = ("lost", "corrupt", "refused", "left behind", "other result")


def load_everything() -> None:
    """Import what the commands import, without a computation: threads do not survive a fork."""
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg
    import matplotlib.figure
    import torch

    import videosieve.batch
    import videosieve.cli.comparing
    import videosieve.cli.tune_progress
    import videosieve.comparison.compare
    import videosieve.comparison.sweep
    import videosieve.integrations.diffusers
    import videosieve.judging.run_card
    import videosieve.judging.scores
    import videosieve.report
    import videosieve.shapes.training.train
    import videosieve.tuning.tune

    del matplotlib, videosieve.batch
    torch.set_num_threads(1)
    work: Any = sys.modules["videosieve.tuning.tune"]._Work
    # a search that ends soon, whatever the machine
    work._has_time = lambda self, _screen: len(self.points) < 2
    card: Any = sys.modules["videosieve.judging.run_card"]
    whole = card.make_config
    card.make_config = lambda *given, **changes: whole(*given, **changes, reading_steps=2)


def run(words: list[str], folder: Path, log: Path, seconds: float = STUCK, event: int = 0) -> int | None:
    """Run a command in a fork.

    Args:
        words: The command.
        folder: Where it writes.
        log: Takes what it says; the number of its operations on files is added to its name.
        seconds: Kill it then.
        event: Kill it at its operation on files of this number, from 1; 0 never.

    Returns:
        Its exit code; None where it was killed.
    """
    child = os.fork()
    if child == 0:
        _be_the_command(words, folder, log, event)
    until = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() >= until:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.002)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    return os.waitstatus_to_exitcode(status)


def _be_the_command(words: list[str], folder: Path, log: Path, event: int) -> None:
    code = 99
    try:
        with log.open("ab", buffering=0) as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        os.environ[MARK] = str(folder)
        seen = itertools.count(1)
        count = 0

        def watch(name: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if name in EVENTS and arguments and str(folder) in str(arguments[0]):
                count = next(seen)
                if count == event:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        from videosieve.cli.app import app

        try:
            app(words, prog_name="videosieve")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        Path(f"{log}.events").write_text(str(count))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def processes_of(folder: Path) -> list[int]:
    """Processes that a command started for this folder, and that still run."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            ended = b") Z " in (place / "stat").read_bytes()
            if not ended and f"{MARK}={folder}".encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return found


def disturb(program: Program, base: Path, kills: int, draw: random.Random) -> Tally:
    """Kill one command a number of times, over as many runs as that takes."""
    tally, log = Tally(), base / "log"
    whole = base / "whole"
    began = time.monotonic()
    code = run(program.words(whole), whole, log)
    length = time.monotonic() - began
    if code not in program.codes:
        raise SystemExit(f"the undisturbed run ended with {code}: {log.read_text()[-800:]}")
    events = int(Path(f"{log}.events").read_text())
    expected = program.result(whole)
    while not tally.ended or tally.kills < kills:
        folder = base / str(tally.ended)
        while True:
            before = program.kept(folder)
            how: dict[str, Any] = {}
            if tally.kills < kills:
                by_event = draw.random() < 0.5
                how = (
                    {"event": draw.randint(1, events)} if by_event else {"seconds": draw.uniform(0.0, length)}
                )
            log.unlink(missing_ok=True)
            code = run(program.words(folder), folder, log, **how)
            if code is not None:
                break
            tally.kills += 1
            _look_after_a_kill(program, folder, before, how, tally)
        tally.ended += 1
        if code in program.codes:
            _look_at_the_end(program, folder, expected, tally)
        else:
            tally.fault("refused", f"code {code}: {log.read_text(errors='replace')}")
    return tally


def _look_after_a_kill(
    program: Program, folder: Path, before: set[str], how: dict[str, Any], tally: Tally
) -> None:
    until = time.monotonic() + PATIENCE
    while (left := processes_of(folder)) and time.monotonic() < until:
        time.sleep(0.05)
    if left:
        tally.fault("left behind", f"processes {left} after {how}")
    try:
        after = program.kept(folder)
    except Exception as error:  # noqa: BLE001 - whatever it is, it cannot be read
        tally.fault("corrupt", f"{error!r} after {how}")
        return
    ending = not after  # the log goes with the last of the work; the end is looked at then
    if not before <= after and not ending:
        tally.fault("lost", f"{sorted(before - after)[:3]} after {how}")
    if torn := corrupt(folder, decode=False):
        tally.fault("corrupt", f"{torn} after {how}")


def _look_at_the_end(program: Program, folder: Path, expected: Any, tally: Tally) -> None:
    if torn := corrupt(folder, decode=True):
        tally.fault("corrupt", f"{torn} at the end")
    if rest := left_behind(folder):
        tally.fault("left behind", rest)
    found = program.result(folder)
    if found != expected:
        differs = [pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1]]
        tally.fault("other result", differs)


def kill_all(kills: int, seed: int, only: tuple[str, ...] = ()) -> dict[str, Tally]:
    """Kill every command.

    Args:
        kills: Of all commands together, at least.
        seed: Of the moments.
        only: Names of commands; none takes all.

    Returns:
        What became of each.
    """
    load_everything()
    found = {}
    with tempfile.TemporaryDirectory() as place:
        base = Path(place).resolve()
        _in_a_fork(base)
        prompts = base / "prompts.txt"
        prompts.write_text("\n".join(PROMPTS) + "\n", encoding="utf-8")
        listed = {
            name: program
            for name, program in programs(str(base / "model"), prompts).items()
            if not only or name in only
        }
        shares = sum(program.share for program in listed.values())
        for name, program in listed.items():
            (base / name).mkdir()
            count = -(-kills * program.share // shares)
            found[name] = disturb(program, base / name, int(count), random.Random(f"{seed} {name}"))
            print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
    return found


def _in_a_fork(base: Path) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            from videosieve.shapes.model import build_networks
            from videosieve.shapes.pipeline import ShapesPipeline

            ShapesPipeline.from_networks(build_networks("shapes-nano")).save_pretrained(base / "model")
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("the tiny model could not be made")


def main() -> None:
    """Print a Markdown table, and every fault below it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], help="a command; repeatable")
    options = parser.parse_args()
    found = kill_all(options.kills, options.seed, tuple(options.only))
    print("| command | kills | came to its end |", " | ".join(FAULTS), "|")
    print("| --- |", " | ".join(["---:"] * (len(FAULTS) + 2)), "|")
    for name, tally in [*found.items(), ("all", _sum(found))]:
        numbers = (tally.kills, tally.ended, *(tally.faults[kind] for kind in FAULTS))
        print(f"| {name} |", " | ".join(map(str, numbers)), "|")
    for name, tally in found.items():
        for line in tally.told:
            print(f"{name}: {line}")
    raise SystemExit(bool(_sum(found).faults))


def _sum(found: dict[str, Tally]) -> Tally:
    total = Tally()
    for tally in found.values():
        total.kills += tally.kills
        total.ended += tally.ended
        total.faults += tally.faults
    return total


if __name__ == "__main__":
    main()
