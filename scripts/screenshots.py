"""Pictures of the pages for the README: profile-en.png, profile-zh.png, report-en.png.

    python scripts/screenshots.py myshop                       a shop that has been run (its first example customer)
    python scripts/screenshots.py --document profile.json      one profile document, without a shop

Needs Chromium (apt-get install chromium fonts-noto-cjk) and Playwright.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huaxiang.profile.page import profile_page
from huaxiang.shop import Shop

if TYPE_CHECKING:
    from playwright.sync_api import Browser

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTH = 1280


@contextmanager
def open_browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        yield browser
        browser.close()


def shoot(browser: Browser, page: Path, out: Path, *, lang: str, height: int, theme: str = "light") -> None:
    """The upper `height` pixels of `page` in one language and theme, as the PNG `out`."""
    view = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
    view.goto(page.resolve().as_uri())
    view.locator(f"label[for=hx-{lang}]").click()
    view.screenshot(path=out, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
    view.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", nargs="?", type=Path)
    parser.add_argument("--document", type=Path)
    parser.add_argument("--customer", help="a customer of the shop; default: its first example")
    parser.add_argument("--out", type=Path, default=Path("docs/img"))
    given = parser.parse_args()
    document: dict[str, Any]
    report = None
    if given.shop is not None:
        with Shop.open(given.shop) as shop:
            document = shop.profile(given.customer or shop.examples()[0]).to_dict()
            report = given.shop / "reports" / "report.html"
    elif given.document is not None:
        document = json.loads(given.document.read_text(encoding="utf-8"))
    else:
        parser.error("name a shop, or --document")
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        page = Path(folder) / "profile.html"
        page.write_text(profile_page(document, "en"), encoding="utf-8")
        shoot(browser, page, given.out / "profile-en.png", lang="en", height=1560)
        shoot(browser, page, given.out / "profile-zh.png", lang="zh", height=1560)
        if report is not None and report.exists():
            shoot(browser, report, given.out / "report-en.png", lang="en", height=1640)


if __name__ == "__main__":
    main()
