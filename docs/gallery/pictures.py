"""Pictures of pages, taken in headless Chromium at the widths of a phone, a tablet and a screen, light and dark."""

import io
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

WIDTHS = (390, 768, 1280)
SCHEMES = ("light", "dark")
SHOWN = (1280, 1000)  # pixels of a page in the gallery
SIDE = 720  # pixels across, of its picture
COLOURS = 192  # of its picture, which is flat enough for a palette


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    from selenium import webdriver

    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        raise SystemExit(
            "pictures need Chromium and its driver (Debian: apt-get install chromium chromium-driver)"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


def picture_of(browser: Any, page: Path, width: int, scheme: str, height: int | None = None) -> Image.Image:
    """A picture of a page.

    Args:
        browser: From `chromium`.
        page: An .html file.
        width: Of the window, CSS pixels.
        scheme: "light" or "dark".
        height: Of the picture; None takes all of the page.

    Returns:
        RGB, width × height pixels.
    """
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    window = {"width": width, "height": height or 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    browser.get(page.resolve().as_uri())
    time.sleep(1.0)  # videos show their first frame, canvases are drawn
    if height is None:
        window["height"] = browser.execute_script("return document.documentElement.scrollHeight")
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
        time.sleep(0.5)
    return Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")


def take_pictures(pages: Sequence[Path], folder: Path) -> None:
    """The upper part of every page as the gallery shows it.

    Args:
        pages: .html files.
        folder: Where their .png go, under the same name.
    """
    with chromium() as browser:
        for page in pages:
            picture = picture_of(browser, page, SHOWN[0], "light", SHOWN[1])
            small = picture.resize((SIDE, round(SIDE * SHOWN[1] / SHOWN[0])), Image.Resampling.LANCZOS)
            flat = small.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            flat.save(folder / f"{page.stem}.png", optimize=True)


def main() -> None:
    """All of the pages named, at every width, light and dark: python -m docs.gallery.pictures FOLDER PAGE..."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for page in map(Path, sys.argv[2:]):
            for width in WIDTHS:
                for scheme in SCHEMES:
                    name = f"{page.stem}-{width}-{scheme}.png"
                    picture_of(browser, page, width, scheme).save(folder / name)


if __name__ == "__main__":
    main()
