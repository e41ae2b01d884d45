"""Prompt files: every format gives the same jobs, and what would go wrong later is refused now."""

import json
from pathlib import Path

import pytest

from videosieve.batch import Job, read_prompts
from videosieve.batch.prompts import parse_shard, shard
from videosieve.errors import PromptError

JOBS = [Job(0, "a red circle", 3), Job(1, "a blue, small square", 0, "noise")]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_every_format_says_the_same(tmp_path: Path):
    table = 'prompt,seed,negative_prompt\na red circle,3,\n"a blue, small square",,noise\n'
    lines = [
        {"prompt": "a red circle", "seed": 3},
        {"prompt": "a blue, small square", "negative_prompt": "noise"},
    ]
    assert read_prompts(write(tmp_path / "p.csv", table)) == JOBS
    assert read_prompts(write(tmp_path / "p.jsonl", "\n".join(map(json.dumps, lines)) + "\n\n")) == JOBS
    text = write(tmp_path / "p.txt", "# shapes\n\n a red circle \na blue, small square\n")
    assert [job.prompt for job in read_prompts(text)] == [job.prompt for job in JOBS]


def test_parquet_is_read_where_pyarrow_is_there(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    columns = {"prompt": [job.prompt for job in JOBS], "seed": [3, 0], "negative_prompt": [None, "noise"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "p.parquet")
    assert read_prompts(tmp_path / "p.parquet") == JOBS


def test_seeds_multiply_prompts_that_have_none(tmp_path: Path):
    path = write(tmp_path / "p.jsonl", '{"prompt": "a", "seed": 9}\n{"prompt": "b"}\n')
    assert [(job.number, job.prompt, job.seed) for job in read_prompts(path, (1, 2))] == [
        (0, "a", 9),
        (1, "b", 1),
        (2, "b", 2),
    ]


def test_shards_hold_every_job_once():
    jobs = [Job(number, "a") for number in range(10)]
    parts = [shard(jobs, index, 4) for index in (1, 2, 3, 4)]
    assert sorted(job.number for part in parts for job in part) == list(range(10))
    assert parse_shard("2/8") == (2, 8)


def test_file_names_are_safe_and_tell_what_is_inside():
    assert Job(7, "A Cat / on… the GRASS!", 3).stem == "000007-a-cat-on-the-grass-3"
    assert Job(7, "猫").stem == "000007-prompt-0"
    assert len(Job(7, "word " * 100).stem) < 80


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.xlsx", "", "ends in .txt, .csv"),
        ("p.txt", "# nothing\n", "holds no prompt"),
        ("p.csv", "text\na\n", "has no prompt"),
        ("p.csv", "prompt,style\na,b\n", "unknown columns style"),
        ("p.csv", "prompt,seed\na,minus\n", "whole number"),
        ("p.csv", 'prompt\n"torn\n', "cannot read"),
        ("p.jsonl", '{"prompt": "a"\n', "cannot read"),
        ("p.jsonl", '["a"]\n', "line 1 must be a JSON object"),
        ("p.txt", "a\na\n", "twice"),
    ],
)
def test_bad_files_are_refused(name: str, text: str, said: str, tmp_path: Path):
    with pytest.raises(PromptError, match=said):
        read_prompts(write(tmp_path / name, text))


def test_a_missing_file_and_a_bad_shard_are_refused(tmp_path: Path):
    with pytest.raises(PromptError, match="cannot read"):
        read_prompts(tmp_path / "p.txt")
    for text in ("0/3", "4/3"):
        with pytest.raises(PromptError, match="1 <= i <= n"):
            shard([], *parse_shard(text))
    with pytest.raises(PromptError, match="i/n"):
        parse_shard("half")
