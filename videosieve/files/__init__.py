"""Files: one reader a format, so that what one verb reads, all read; one way to write, so that a kill tears nothing.

Text is UTF-8, with or without a byte order mark, or UTF-16 with one, as Notepad, Excel and PowerShell write it. Lines
end at a line feed, or carriage return and line feed, and nowhere else: what looks like a line end to Unicode (U+2028,
U+0085, a vertical tab) stays where it is. What cannot be read is an error that names the file, the line and the cause.

What is written appears whole or not at all (`writing.py`), work that goes on after an interruption keeps a log
(`append_log.py`), and one process works in a folder at a time (`locks.py`).
"""

from videosieve.files.append_log import AppendLog, name_differences
from videosieve.files.json_text import parse_json, read_json, read_json_lines, read_table
from videosieve.files.locks import Claim
from videosieve.files.paths import entries, exists, is_file, is_folder, read_bytes, reason_of
from videosieve.files.pictures import open_picture
from videosieve.files.table_text import check_table, write_table
from videosieve.files.tables import read_csv
from videosieve.files.tensors import open_tensors, read_tensors, tensor_names, write_tensors
from videosieve.files.text import decode, lines_of, read_lines, read_text
from videosieve.files.toml_text import parse_toml, toml_key, toml_value
from videosieve.files.writing import (
    LONGEST_NAME,
    check_name,
    check_writable,
    is_empty,
    require_folder,
    sweep,
    whole_file,
    write_text,
)

__all__ = [
    "LONGEST_NAME",
    "AppendLog",
    "Claim",
    "check_name",
    "check_table",
    "check_writable",
    "decode",
    "entries",
    "exists",
    "is_empty",
    "is_file",
    "is_folder",
    "lines_of",
    "name_differences",
    "open_picture",
    "open_tensors",
    "parse_json",
    "parse_toml",
    "read_bytes",
    "read_csv",
    "read_json",
    "read_json_lines",
    "read_lines",
    "read_table",
    "read_tensors",
    "read_text",
    "reason_of",
    "require_folder",
    "sweep",
    "tensor_names",
    "toml_key",
    "toml_value",
    "whole_file",
    "write_table",
    "write_tensors",
    "write_text",
]
