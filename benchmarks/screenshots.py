"""The pictures of the page and the viewer, of real answers of the embedded model: python -m benchmarks.screenshots

Needs Chromium and the extras llama, serve and dev. Writes docs/page.png, docs/page-compare.png and docs/viewer.png."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

import entropix
from entropix.model import Model
from entropix.serve.app import Server
from entropix.serve.listening import listen, url_of
from entropix.serve.process import make_uvicorn
from entropix.serve.settings import Settings
from entropix.trace.html import result_document

WIDTH = 1280
SEARCH = "tree:max_sequences=6+vote:answer=number"


@contextmanager
def served(model: Model) -> Iterator[str]:
    """The address of a server of `model` in this process."""
    settings = Settings(port=0, places=4, kept=2)
    sock = listen(settings)
    uvicorn = make_uvicorn(Server(model, settings))
    thread = threading.Thread(target=uvicorn.run, kwargs={"sockets": [sock]})
    thread.start()
    while not uvicorn.started and thread.is_alive():
        time.sleep(0.05)
    try:
        yield url_of(sock)
    finally:
        uvicorn.should_exit = True
        thread.join()


def opened(browser: Browser, url: str, height: int, *, dark: bool = False) -> Page:
    page = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme="dark" if dark else "light")
    page.goto(url)
    return page


def ask(page: Page, text: str, seed: int, tokens: int) -> None:
    for field, value in (("#seed", str(seed)), ("#max-tokens", str(tokens)), ("#message", text)):
        page.fill(field, value)
    page.keyboard.press("Enter")
    page.locator("#stop:disabled").wait_for(timeout=120_000)
    page.locator("#model").click()  # away from the message field


def main(folder: Path) -> None:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with (
        entropix.load("smollm2", context=2048, sequences=8, threads=1) as model,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"]) as browser,
        tempfile.TemporaryDirectory() as scratch,
    ):
        question = "A farmer has 17 sheep. All but 9 run away. How many are left?"
        file = Path(scratch, "viewer.html")
        file.write_text(result_document(model.generate(question, seed=3, max_tokens=120, search=SEARCH)), "utf-8")
        page = opened(browser, file.as_uri(), 940)
        page.locator("#text .forked").first.click()
        page.screenshot(path=folder / "viewer.png")
        with served(model) as url:
            page = opened(browser, url, 960)
            ask(page, "Write two sentences about the sea at night.", 2, 120)
            page.locator(".answer .t.r-adapt").nth(12).click()
            page.screenshot(path=folder / "page.png")
            page = opened(browser, url, 860, dark=True)
            page.locator("#compare").click()
            ask(page, "What should I cook tonight?", 3, 60)
            page.locator(".answer .t.r-branch").nth(1).click()
            page.screenshot(path=folder / "page-compare.png")
    for name in ("viewer", "page", "page-compare"):
        print(f"{folder / name}.png: {(folder / f'{name}.png').stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
