"""Pictures and animations, as Pillow reads them."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from videosieve.errors import VideosieveError
from videosieve.files.paths import reason_of


@contextmanager
def open_picture(path: str | Path, what: str, error: type[VideosieveError]) -> Iterator[Any]:
    """Open a picture; what is wrong with its data is often found when it is used, so use it inside the block.

    Args:
        path: The file.
        what: What it is to the reader: "the image", …
        error: What to raise.

    Yields:
        Pillow's image.

    Raises:
        VideosieveError: Of the class `error`: it is missing, no picture, damaged, or larger than Pillow opens.
    """
    from PIL import Image, UnidentifiedImageError

    where = f"{what} {str(path)!r}"
    try:
        with Image.open(path) as image:
            yield image
    except VideosieveError:
        raise
    except UnidentifiedImageError:
        raise error(f"{where} is not an image that Pillow can read; give a PNG or JPEG") from None
    except (
        *(OSError, ValueError, SyntaxError, EOFError, TypeError, LookupError, OverflowError, struct.error),
        Image.DecompressionBombError,
    ) as cause:
        raise error(f"cannot read {where}: {reason_of(cause)}") from None
