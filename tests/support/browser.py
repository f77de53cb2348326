"""A real browser on a real console: pages that fail a test for what a person would not see but should not be."""

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, Response, expect

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = (390, 1280, 2560)
PATIENCE_MS = 60_000
"""How long is waited for what must come, as `wait_for` does: Playwright's own 5 s are too few for a busy machine."""
expect.set_options(timeout=PATIENCE_MS)
SCREENSHOTS = "HARK_SCREENSHOTS"
"""Environment variable: a folder for pictures of the screens; without it none are taken."""
LATENCY = "HARK_LATENCY"
"""Environment variable: milliseconds by which every answer comes later to the browser, as over a slow network."""


class Screen:
    """One signed-in page, and everything that went wrong on it."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.page: Page = context.new_page()
        self.address = address
        self.wrong: list[str] = []
        self._finished: list[Request] = []
        if latency := os.environ.get(LATENCY):
            network = {
                "offline": False,
                "latency": float(latency),
                "downloadThroughput": -1,
                "uploadThroughput": -1,
            }
            devtools = context.new_cdp_session(self.page)
            devtools.send("Network.enable")
            devtools.send("Network.emulateNetworkConditions", network)
        self.page.on("console", lambda said: self._note(said.type == "error", f"console: {said.text}"))
        self.page.on("pageerror", lambda error: self._note(True, f"script: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("requestfinished", lambda request: self._finished.append(request))
        self.page.on("request", self._asked)
        self.page.on("response", self._answered)

    def open(self, path: str) -> Page:
        """Go to a path of the console and return the page."""
        self.page.goto(self.address + path)
        return self.page

    def weights(self) -> list[int]:
        """Return the bytes of each answer that has come whole, of this one visit."""
        answers = [request.response() for request in self._finished]
        return [len(answer.body()) for answer in answers if answer is not None]

    def forget(self) -> None:
        """Let pass what went wrong so far, as where a test provokes it."""
        self.wrong.clear()

    def _note(self, wrong: bool, text: str) -> None:
        if wrong:
            self.wrong.append(text)

    def _failed(self, request: Request) -> None:
        # A stream or a fetch that ends because its page is left has not failed.
        self._note("ERR_ABORTED" not in (request.failure or ""), f"{request.url}: {request.failure}")

    def _asked(self, request: Request) -> None:
        here = urlsplit(self.address).netloc
        there = urlsplit(request.url)
        self._note(
            there.scheme in ("http", "https", "ws", "wss") and there.netloc != here,
            f"left the machine: {request.url}",
        )

    def _answered(self, response: Response) -> None:
        self._note(response.status >= 400, f"{response.status} {response.url}")


def check_axe(page: Page) -> None:
    """Fail for anything serious or critical that axe-core finds, in both themes."""
    before = page.evaluate("document.documentElement.dataset.theme ?? ''")
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        found = Axe().run(page).response["violations"]
        grave = [
            f"{theme}: {rule['id']}: {rule['help']}: {[node['target'] for node in rule['nodes'][:3]]}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
        ]
        assert not grave, "\n".join(grave)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", before or "light")


def shoot(page: Page, name: str) -> None:
    """Save pictures of a screen, both themes and three widths, to the folder that HARK_SCREENSHOTS names, if any."""
    folder = os.environ.get(SCREENSHOTS)
    if not folder:
        return
    before = page.viewport_size
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": {390: 844, 1280: 800, 2560: 1440}[width]})
        for theme in ("light", "dark"):
            page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            page.evaluate("document.dispatchEvent(new Event('theme'))")
            page.screenshot(path=Path(folder) / f"{name}-{width}-{theme}.png")
    if before:
        page.set_viewport_size(before)


class Contexts:
    """One signed-in browser context a role and theme, made when first asked for."""

    def __init__(
        self, browser: Browser, address: str, sign_in: Callable[[BrowserContext, str], None]
    ) -> None:
        self._browser = browser
        self.address = address
        self._sign_in = sign_in
        self._made: dict[str, BrowserContext] = {}

    def of(self, role: str) -> BrowserContext:
        """Return the context of `role`; "nobody" is not signed in."""
        if role not in self._made:
            context = self._browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
            context.set_default_timeout(PATIENCE_MS)
            if role != "nobody":
                self._sign_in(context, role)
            self._made[role] = context
        return self._made[role]

    def close(self) -> None:
        """Close all of them."""
        for context in self._made.values():
            context.close()
