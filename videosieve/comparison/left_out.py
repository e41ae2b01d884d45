"""What a cache left out of a run, noted as reused: density then counts over the same pairs as the baseline's."""

from collections import defaultdict
from dataclasses import replace

from videosieve.records import Record
from videosieve.trace import Trace


def with_left_out(trace: Trace, whole: Trace, cache: str) -> Trace:
    """The trace of a run with a cache, and what it is short of.

    Args:
        trace: What was computed.
        whole: The same request without a cache.
        cache: What the notes call the cache.

    Returns:
        In the order of `whole`, the records of `trace`; for every call that is missing, or holds fewer pairs as half of
        the batch was left out, a record of action "reuse" with the pairs and no density.
    """
    ran: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in trace.records:
        ran[_place(record)].append(record)
    records = []
    for expected in whole.records:
        found = ran.pop(_place(expected), [])
        records += found
        if short := expected.pairs - sum(record.pairs for record in found):
            records.append(_reused(expected, max(short, 0), cache))
    records += [record for found in ran.values() for record in found]
    return Trace(records)


def _place(record: Record) -> tuple[object, ...]:
    return record.generation, record.step, record.branch, record.pass_number, record.items, record.layer


def _reused(expected: Record, pairs: int, cache: str) -> Record:
    return replace(
        expected, action="reuse", reason="", kernel="", pairs=pairs, density=0.0, recall=[], pattern=[],
        milliseconds=0.0, source=(), note=f"left out by {cache}", compensated=[],
    )  # fmt: skip
