"""A real browser for tests: Debian's Chromium, headless, driven by Selenium; it reaches loopback and nothing else.

    with chromium(tmp_path) as browser:
        browser.open(url)
        browser.see("Running now")              # waits for a text that a person can see
        browser.press("Pause")                  # a button, by its name for a screen reader
        browser.look(dark=True, width=360)      # how it is looked at
        browser.picture("phone-dark")           # artefacts/phone-dark.png, whole page
        assert browser.console() == []          # what the console holds against the page

Every wait is for a condition and bounded. Without Chromium: skip; in CI (environment CI=true): fail.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys

from standins.watching import wait_until

ARTEFACTS = Path(__file__).parents[2] / "artefacts"
PATIENCE = 20.0
FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

# What a person can see: texts of elements that are drawn, without those that are only there for a screen reader.
_TEXT = "return document.body.innerText.replace(/\\s+/g, ' ')"
_BUTTON = """
const name = (button) => button.getAttribute("aria-label") ?? button.textContent;
return [...document.querySelectorAll("button")].find((b) => name(b) === arguments[0] && b.checkVisibility()) ?? null;
"""
_FOCUSED = "const f = document.activeElement; return f.getAttribute('aria-label') ?? f.textContent.trim();"


class Browser:
    """One tab."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Load a page."""
        self.driver.get(url)

    def leave(self) -> None:
        """Leave the page, before what it talks to goes."""
        self.driver.get("about:blank")

    def ask(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page; return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def text(self) -> str:
        """Return what can be read on the page, with single spaces."""
        return str(self.ask(_TEXT))

    def text_of(self, selector: str) -> str:
        """Return the text of the first element of a CSS selector; empty where there is none."""
        return str(
            self.ask("return document.querySelector(arguments[0])?.innerText.replace(/\\s+/g, ' ') ?? ''", selector)
        )

    def see(self, *texts: str, within: str = "body") -> None:
        """Wait until all these can be read in the element of that selector."""
        self.until(lambda: all(text in self.text_of(within) for text in texts), f"{texts} in {within}")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition; fail with what it is and what the page says."""
        try:
            wait_until(condition, what, PATIENCE)
        except AssertionError as late:
            raise AssertionError(f"{late}; the page says: {self.text()}; the console: {self.console()}") from None

    def press(self, name: str) -> None:
        """Click the visible button of this name (for a screen reader) as soon as it is there."""
        self.until(lambda: self.ask(_BUTTON, name) is not None, f"a button {name}")
        self.ask(_BUTTON, name).click()

    def has_button(self, name: str) -> bool:
        return self.ask(_BUTTON, name) is not None

    def type(self, text: str) -> None:
        """Type into whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(text)

    def tab_to(self, name: str, most: int = 60) -> list[str]:
        """Press Tab until what has the focus has this name; return the names on the way."""
        names: list[str] = []
        while len(names) < most:
            self.type(Keys.TAB)
            names.append(self.focused())
            if names[-1] == name:
                return names
        raise AssertionError(f"no Tab leads to {name}: {names}")

    def focused(self) -> str:
        """Return the name of what has the focus."""
        return str(self.ask(_FOCUSED))

    def look(self, *, width: int = 1280, height: int = 900, dark: bool = False, calm: bool = False) -> None:
        """Look at pages in a window of this size in CSS pixels, as somebody who likes it dark, or without motion."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        likes = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": likes})

    def picture(self, name: str) -> Path:
        """Save the whole page as artefacts/NAME.png."""
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        ARTEFACTS.mkdir(exist_ok=True)
        path = ARTEFACTS / f"{name}.png"
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def console(self) -> list[str]:
        """Return the errors in the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Given an empty folder for its profile, run a browser."""
    browser, driver = _program("chromium"), _program("chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    # Chromium's own sandbox refuses to run as root.
    for flag in (*FLAGS, f"--user-data-dir={folder}", *(["--no-sandbox"] if os.geteuid() == 0 else [])):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        # Selenium Manager would fetch drivers and count users; with both paths given it is not even asked.
        patch.setenv("SE_OFFLINE", "true")
        patch.setenv("SE_AVOID_STATS", "true")
        tab = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    try:
        yield Browser(tab)
    finally:
        tab.quit()


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        message = f"{name} is missing (Debian: apt install chromium chromium-driver): the status page is not tested"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    return str(found)
