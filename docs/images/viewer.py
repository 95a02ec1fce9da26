"""Make the screenshots in docs/viewer.md from a run: python docs/images/viewer.py RUN TRAJECTORY.

Needs Playwright and Chromium (pip install 'crossagent[ui]'; apt-get install chromium).
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from crossagent.tracking.viewer.catalogue import Catalogue
from crossagent.tracking.viewer.page import write_page
from crossagent.tracking.viewer.watch import serve

HERE = Path(__file__).parent


def shoot(browser: Browser, address: str, name: str, keys: str = "", scheme: str = "light", height: int = 900) -> None:
    """Open a page, press keys, save ``NAME.png``."""
    page: Page = browser.new_page(viewport={"width": 1360, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(address)
    page.wait_for_selector("html[data-ready]", state="attached")
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    path = HERE / f"{name}.png"
    page.screenshot(path=path)
    page.close()
    with Image.open(path) as image:  # 256 colours: a third of the size, and no difference to see
        image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    print(f"wrote {path}")


def main() -> None:
    """Write the four screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("trajectory", help="as the viewer names it, of a group that was trained after the first step")
    parser.add_argument("--turn", type=int, default=1)
    args = parser.parse_args()
    Catalogue(args.run).find(args.trajectory)
    chromium = os.environ.get("CROSSAGENT_CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        file = Path(directory) / "viewer.html"
        write_page(args.run, file, 20_000)
        address = f"{file.as_uri()}#{args.trajectory}@{args.turn}"
        shoot(browser, address, "viewer", "2n")
        shoot(browser, address, "viewer-dark", "4", "dark")
        shoot(browser, address, "viewer-group", "3c")
        with serve(args.run, 0) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            shoot(browser, f"http://127.0.0.1:{server.server_address[1]}/", "watch", height=1500)
            server.shutdown()


if __name__ == "__main__":
    main()
