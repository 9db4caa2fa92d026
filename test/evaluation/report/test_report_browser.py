# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser, without a window: Chromium, driven through its own protocol over a pipe."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(600)   # a busy machine draws slowly
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WAIT_S = 60


class Browser:
    """Chromium with one page. Messages are JSON between zero bytes, on file descriptors 3 and 4."""

    def __init__(self, binary: str, profile: Path) -> None:
        self._numbers, self._left, self.events = itertools.count(1), b"", list[dict[str, Any]]()
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        command = [binary, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--disable-gpu",
                   "--no-first-run", "--disable-dev-shm-usage", "--disable-background-networking",
                   *(["--no-sandbox"] if os.geteuid() == 0 else []), "about:blank"]
        # The pipes must be 3 and 4 in the browser; a shell puts them there whatever they are here.
        script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(["bash", "-c", script, "browser", *command], pass_fds=(theirs_in, theirs_out),
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out, self._session = ours_in, ours_out, ""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events that come between are kept."""
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        text = json.dumps({"id": number, "method": method, "params": params, **session})
        os.write(self._out, text.encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])

    def open(self, path: Path, *, dark: bool, width: int) -> None:
        """Load a file in a light or dark page of a width."""
        self.events.clear()
        self.ask("Emulation.setEmulatedMedia",
                 features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._receive()

    def evaluate(self, script: str) -> Any:
        """Value of a JavaScript expression."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self, path: Path, height: int | None = None) -> None:
        """The whole page, or its top."""
        width = self.evaluate("innerWidth")
        tall = height or self.evaluate("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": tall, "scale": 1}
        data = self.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        os.close(self._out)
        os.close(self._in)
        self._process.terminate()
        self._process.wait(WAIT_S)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            data = os.read(self._in, 1 << 20)
            if not data:
                raise ConnectionError("the browser ended")
            self._left += data
        text, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = next(filter(None, map(shutil.which, NAMES)), None)
    if binary is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed (Debian: apt install chromium)")
    try:
        found = Browser(binary, tmp_path_factory.mktemp("profile"))
    except (ConnectionError, BrokenPipeError) as error:
        pytest.skip(f"{binary} does not start on this machine: {error}")
    yield found
    found.close()


FIGURES = """[...document.querySelectorAll("figure svg")].map(svg => {
  const box = svg.getBoundingClientRect(), marks = svg.querySelectorAll("path, use, text").length;
  return [box.width, box.height, marks, svg.closest("figure").id]; })"""


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("which", ["evaluated", "evaluated_bag"])
def test_the_browser_shows_the_report_without_errors(browser, which, dark, width, request, tmp_path):
    folder: Path = request.getfixturevalue(which)
    browser.open(folder / "report.html", dark=dark, width=width)
    browser.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    figures = browser.evaluate(FIGURES)
    assert {name for *_, name in figures} == {
        "allocation", "error_budget", "error_cdf", "latency", "latent", "timeline"}
    assert all(w > 120 and h > 80 and marks > 10 for w, h, marks, _ in figures)
    assert browser.evaluate("[...document.images].every(image => image.naturalWidth > 10)")
    assert browser.evaluate("document.images.length") > 0
    # Nothing sticks out of the page; what is wider scrolls by itself.
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page, ink, drawn = browser.evaluate("""[getComputedStyle(document.body).backgroundColor,
      getComputedStyle(document.body).color, getComputedStyle(document.querySelector("#error_budget text")).fill]""")
    bright, dim = (ink, page) if dark else (page, ink)
    assert _light(bright) > 0.8 and _light(dim) < 0.2
    assert abs(_light(drawn) - _light(page)) > 0.4
    asked = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [(folder / "report.html").as_uri()]
    complaints = [e for e in browser.events if e["method"] in (
        "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Network.loadingFailed")]
    assert complaints == []
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000


def test_the_browser_reports_violations(browser, tmp_path):
    """That nothing was heard means something only if it would have been."""
    page = tmp_path / "page.html"
    page.write_text("<!DOCTYPE html><title>bad</title><img src='http://127.0.0.1:9/x.png' alt=''>"
                    "<script>console.error('no')</script>")
    browser.open(page, dark=False, width=800)
    heard = {event["method"] for event in browser.events}
    assert {"Runtime.consoleAPICalled", "Network.loadingFailed"} <= heard
    assert any(event["params"]["request"]["url"].startswith("http:") for event in browser.events
               if event["method"] == "Network.requestWillBeSent")


def _light(colour: str) -> float:
    """Brightness in [0, 1] of `rgb(r, g, b)`."""
    red, green, blue = (int(part) for part in colour[4:-1].split(","))
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255
