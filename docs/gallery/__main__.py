"""The gallery: every page that videosieve writes, made by its own command on the bundled model, and a picture of each.

    python -m docs.gallery                 # all pages; a quarter of an hour on two cores
    python -m docs.gallery report tune     # some of them
    python -m docs.gallery --pictures      # the pictures alone, of the pages that are there
    python -m docs.gallery --style         # today's stylesheet in the pages that are there, and their pictures

The pages go to docs/gallery/, the pictures beside them. The pictures need Chromium and its driver.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from docs.gallery.pages import PAGES, prepare
from docs.gallery.pictures import take_pictures
from videosieve.report.page import stylesheet

HERE = Path(__file__).parent
MOST_BYTES = 3_000_000
"""Of all files of the gallery together."""


def make_page(name: str, folder: Path) -> None:
    """Run the command of a page in an empty folder, and copy what it wrote.

    Args:
        name: A key of `PAGES`.
        folder: Where the command runs; its page names the command as it is typed there.
    """
    page, command = PAGES[name]
    prepare(name, folder)
    print(command, flush=True)
    program = (sys.executable, "-m", "videosieve", *shlex.split(command)[1:])
    subprocess.run(program, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    shutil.copyfile(folder / page, HERE / f"{name}.html")


def restyle(page: Path) -> None:
    """Put today's stylesheet into a page; every page has the same one."""
    before, _, rest = page.read_text("utf-8").partition("<style>\n")
    page.write_text(f"{before}<style>\n{stylesheet()}\n</style>{rest.partition('</style>')[2]}", "utf-8")


def main() -> None:
    """Make what is asked for, and say how large all is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *PAGES], help="pages; default: all")
    parser.add_argument("--pictures", action="store_true", help="no pages, only their pictures")
    parser.add_argument(
        "--style", action="store_true", help="no commands, only the stylesheet and the pictures"
    )
    wanted = parser.parse_args()
    names = wanted.names or list(PAGES)
    for name in names if wanted.style else []:
        restyle(HERE / f"{name}.html")
    for name in [] if wanted.pictures or wanted.style else names:
        with tempfile.TemporaryDirectory() as folder:
            make_page(name, Path(folder))
    take_pictures([HERE / f"{name}.html" for name in names], HERE)
    held = sum(path.stat().st_size for path in HERE.iterdir() if path.suffix in (".html", ".png"))
    print(f"{HERE}: {held / 1e6:.2f} MB")
    if held > MOST_BYTES:
        raise SystemExit(f"the gallery may hold {MOST_BYTES / 1e6:g} MB; make its pages smaller")


if __name__ == "__main__":
    main()
