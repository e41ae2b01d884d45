"""Files of every kind: read the same in every encoding, refused in one line where they are damaged, never misread."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmarks.robustness.corpus import Kind, kinds
from benchmarks.robustness.damage import damages, encodings
from benchmarks.robustness.trials import ANSWERED, REFUSED, sound, try_file
from videosieve import OutputError, RecipeError, Trace, VideosieveError
from videosieve.batch.prompts import read_prompts
from videosieve.batch.vbench import read_vbench_prompts
from videosieve.errors import ModelError, PromptError
from videosieve.files import decode, lines_of, parse_json, read_csv, read_text
from videosieve.trace import Record

KINDS = kinds()
ENDS = ("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.text], ids=lambda kind: kind.name)
def test_a_file_says_the_same_in_every_encoding_that_programs_write(kind: Kind):
    content, expected = sound(kind)
    for name, changed, same in encodings(content):
        outcome, said = try_file(kind, changed, expected if same else None)
        assert outcome == (ANSWERED if same else REFUSED), (name, said)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_damaged_file_is_a_line_that_names_it(kind: Kind):
    content, _ = sound(kind)
    for name, changed in damages(content, seed=1, count=4):
        outcome, said = try_file(kind, changed)
        assert outcome in (ANSWERED, REFUSED), (name, said)
        assert "\n" not in said
        assert outcome == ANSWERED or Path(kind.file).stem in said or kind.name == "picture", (name, said)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\nb\xe9c\n", "line 2, byte 2 is 0xe9, which is no UTF-8; save it as UTF-8"),
        (b"\xef\xbb\xbfa\n\xff\n", "line 2, byte 1 is 0xff"),
        ("a\nb".encode("utf-16-le"), "line 1 holds a NUL"),
        ("a".encode("utf-32"), "it is UTF-32"),
        (b"\xff\xfe\x00\xd8", "is no UTF-16"),
        (b"a\r\nb\r\nc\xc3", "line 3, byte 2 is 0xc3"),
    ],
)
def test_text_that_is_none_is_refused_with_line_and_byte(content: bytes, words: str):
    with pytest.raises(PromptError, match=words):
        decode(content, "it", PromptError)


@given(st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"])).filter(str.strip))
@example("a\u2028b")
@example("\ufeffa")
@example("a\x85")
def test_a_prompt_survives_a_text_file_whatever_it_holds(prompt: str):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "P.TXT")
        path.write_bytes(b"\xef\xbb\xbf" + f"first\r\n{prompt}\r\nlast\r\n".encode())
        found = [job.prompt for job in read_prompts(path) if job.prompt not in ("first", "last")]
    kept = prompt.strip(" \t")
    assert found == ([] if kept.lstrip().startswith("#") or kept in ("first", "last") else [kept])


@pytest.mark.parametrize("end", ENDS, ids=ascii)
def test_what_only_unicode_calls_a_line_end_cuts_nothing(tmp_path: Path, end: str):
    prompt = f"a red{end}circle"
    for name, text in (
        ("a.txt", f"{prompt}\n"), ("a.csv", f"prompt\n{prompt}\n"), ("a.jsonl", f'{{"prompt": "{prompt}"}}\n'),
    ):  # fmt: skip
        if name == "a.jsonl" and end < " ":
            continue  # JSON has no raw control characters in text
        (tmp_path / name).write_bytes(text.encode())
        assert [job.prompt for job in read_prompts(tmp_path / name)] == [prompt]
    record = Record(0, 0, prompt, "dense", f"why{end}not", "sdpa", 1, 1.0, [], [prompt], 0.0)
    Trace([record]).save(tmp_path / "t.jsonl")
    assert Trace.load(tmp_path / "t.jsonl").records == [record]
    (tmp_path / "long.txt").write_text(f"long {prompt}\n")
    (tmp_path / "short.txt").write_text("short\n")
    jobs = read_vbench_prompts(tmp_path / "short.txt", long_prompts=tmp_path / "long.txt", samples=1)
    assert [job.prompt for job in jobs] == [f"long {prompt}"]


def test_lines_end_at_line_feeds_alone():
    assert lines_of("a\r\nb\n\nc") == ["a", "b", "", "c"]
    assert lines_of("") == []
    assert lines_of("\n") == [""]
    assert lines_of("a\x0bb\u2029c\n") == ["a\x0bb\u2029c"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_of_every_country_are_read(tmp_path: Path, separator: str):
    path = tmp_path / "Prompts.CSV"
    rows = [["prompt", " seed "], ['"a, b; c\td"', "3"], ["plain", ""], ["", ""], ['"two\nlines"', "4"]]
    path.write_text("".join(separator.join(row) + "\r\n" for row in rows), newline="")
    jobs = read_prompts(path, (7,))
    assert [(job.prompt, job.seed) for job in jobs] == [("a, b; c\td", 3), ("plain", 7), ("two\nlines", 4)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prompt\na,b\n", "line 2 has 2 cells for 1 columns"),
        ("prompt,prompt\na,b\n", "each once"),
        ("prompt,\na,b\n", "each once"),
        ('prompt\n"a\n', "line 2 is not CSV"),
        ('prompt\n"a"b\n', "line 2 is not CSV"),
        ("seed\n1\n", "line 2 of .* has no prompt"),
        ("prompt,seed\na,1e3\n", "seed in line 2"),
        ("prompt,seed\na," + "9" * 30 + "\n", "seed in line 2"),
        ("", "each once|no prompt"),
    ],
)
def test_tables_that_are_none_are_refused_with_their_line(tmp_path: Path, text: str, words: str):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(PromptError, match=words):
        read_prompts(tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"prompt": 5}', "prompt must be text, got 5"),
        ('{"prompt": ["a"]}', "prompt must be text"),
        ('{"prompt": "a", "seed": 1.5}', "seed in line 1"),
        ('{"prompt": "a", "seed": true}', "seed in line 1"),
        ('{"prompt": "a", "seed": [1]}', "seed in line 1"),
        ('{"prompt": "a", "image": {}}', "image must be text"),
        ('{"prompt": "a", "negative_prompt": 0}', "negative_prompt must be text"),
        ('{"prompt": "\\ud800"}', "without half characters"),
        ('{"prompt": "a", "[red]": 1}', r"unknown columns \[red\]"),
        ('"a"', "must be a JSON object"),
        ("[" * 100_000, "nested deeper than can be read"),
        ('{"prompt": ' + "9" * 5000 + "}", "it is not JSON"),
    ],
)
def test_rows_of_other_types_are_refused(tmp_path: Path, row: str, words: str):
    (tmp_path / "p.jsonl").write_text(row + "\n")
    with pytest.raises(PromptError, match=words):
        read_prompts(tmp_path / "p.jsonl")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_at_all_are_text_or_a_sentence(content: bytes):
    try:
        text = decode(content, "it", ModelError)
    except ModelError as error:
        assert "cannot read it" in str(error)  # noqa: PT017
    else:
        coding = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}.get(content[:2], "utf-8-sig")
        assert text == content.decode(coding)


@given(st.text(alphabet='[]{}",:0123456789eE+-.truefalsn \n\\ud', max_size=40))
def test_any_text_at_all_is_json_or_a_sentence(text: str):
    try:
        parse_json(text, "it", OutputError)
    except OutputError as error:
        assert str(error).startswith("cannot read it: ")  # noqa: PT017


@pytest.mark.parametrize(
    "name", ["none.txt", "a\0b.txt", "x" * 300 + ".txt", "folder.txt", "é" * 200 + ".txt"]
)
def test_paths_that_lead_to_no_file_are_sentences(tmp_path: Path, name: str):
    (tmp_path / "folder.txt").mkdir()
    for read in (read_prompts, Trace.load, lambda path: read_csv(path, "it", RecipeError),
                 lambda path: read_text(path, "it", OutputError)):  # fmt: skip
        with pytest.raises(VideosieveError, match="cannot read"):
            read(Path(str(tmp_path / "x") + "/../" + name) if "\0" not in name else Path(name))
