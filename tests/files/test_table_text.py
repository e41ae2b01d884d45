"""Tables for other programs say what the table said, whatever stands in its cells."""

import csv
import io
from pathlib import Path

import pytest

from videosieve.errors import OutputError
from videosieve.files import check_table, write_table

COLUMNS = ["method", "time, s", "recall"]
ROWS = [["a|b_c & 50 %", 1.234567, None], ['say "hi",\nthere', 20.0, 0.5]]


def test_csv_reads_back_in_full(tmp_path: Path):
    text = write_table(tmp_path / "t.csv", COLUMNS, ROWS).read_text()
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert read == [COLUMNS, ["a|b_c & 50 %", "1.234567", ""], ['say "hi",\nthere', "20.0", "0.5"]]


def test_markdown_keeps_its_columns(tmp_path: Path):
    lines = write_table(tmp_path / "t.md", COLUMNS, ROWS).read_text().splitlines()
    assert lines[1] == "| --- | ---: | ---: |"
    assert lines[2] == r"| a\|b\_c & 50 % | 1.235 | – |"
    assert lines[3] == '| say "hi", there | 20 | 0.5 |'
    assert len(lines) == 4


def test_latex_escapes_what_steers_it(tmp_path: Path):
    lines = write_table(tmp_path / "t.tex", COLUMNS, [["x_%$#{}~^\\", 2.0, None]]).read_text().splitlines()
    assert lines[0] == r"\begin{tabular}{lrr}"
    assert lines[4] == r"  x\_\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{} & 2 & -- \\"
    assert lines[-1] == r"\end{tabular}"


def test_a_wrong_place_is_refused_before_anything_is_made(tmp_path: Path):
    with pytest.raises(OutputError, match=r"must end in \.csv, \.md, \.tex; got '.*t\.xlsx'"):
        check_table(tmp_path / "t.xlsx", tmp_path)
    with pytest.raises(OutputError, match="does not exist"):
        check_table(tmp_path / "no" / "t.csv", tmp_path)
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_table(tmp_path / "folder.md", tmp_path)
    results = tmp_path / "made later"
    assert check_table(results / "t.csv", results) == results / "t.csv"
    assert check_table(None, results) is None
