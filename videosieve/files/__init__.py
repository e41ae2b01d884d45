"""Files from outside: one reader a format, so that what one verb reads, all read, and refuse in the same words.

Text is UTF-8, with or without a byte order mark, or UTF-16 with one, as Notepad, Excel and PowerShell write it. Lines
end at a line feed, or carriage return and line feed, and nowhere else: what looks like a line end to Unicode (U+2028,
U+0085, a vertical tab) stays where it is. What cannot be read is an error that names the file, the line and the cause.
"""

from videosieve.files.json_text import parse_json, read_json, read_json_lines, read_table
from videosieve.files.paths import entries, exists, is_file, is_folder, read_bytes, reason_of
from videosieve.files.pictures import open_picture
from videosieve.files.tables import read_csv
from videosieve.files.tensors import open_tensors, read_tensors, tensor_names
from videosieve.files.text import decode, lines_of, read_lines, read_text
from videosieve.files.toml_text import parse_toml, toml_key, toml_value

__all__ = [
    "decode",
    "entries",
    "exists",
    "is_file",
    "is_folder",
    "lines_of",
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
    "tensor_names",
    "toml_key",
    "toml_value",
]
