"""A headless Chromium driven over its debugging pipe, as it is installed: no driver, no network."""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from base64 import b64decode
from contextlib import contextmanager
from pathlib import Path

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
WITHIN_S = 30.0
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--hide-scrollbars", "--remote-debugging-pipe",
    "--disable-features=IsolateSandboxedIframes",
]  # fmt: skip
KEYS = {"Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, ""), "End": ("End", 35, "")}
FLAWS = {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"}


class Chromium:
    """One browser with one page. `flaws` are its console messages, errors and wanted requests."""

    def __init__(self, asks, answers):
        self._asks, self._answers = asks, answers
        self._unread, self._last, self._session = b"", 0, None
        self.flaws, self.requests, self._frames = [], [], {}
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        """The result of a command of the DevTools protocol."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._asks, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._last:
            self._hear(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        until = time.monotonic() + WITHIN_S
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], until - time.monotonic())
            assert ready, f"Chromium says nothing for {WITHIN_S} s"
            self._unread += os.read(self._answers, 1 << 20)
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)

    def _hear(self, event):
        if event.get("method") in FLAWS:
            self.flaws.append(event["params"])
        match event.get("method"):
            case "Runtime.executionContextCreated":
                made = event["params"]["context"]
                self._frames[made["id"]] = made["origin"]
            case "Runtime.executionContextDestroyed":
                self._frames.pop(event["params"]["executionContextId"], None)
            case "Runtime.executionContextsCleared":
                self._frames.clear()
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(event["params"]["request"]["url"])

    def open(self, path, width=1280, height=800, scheme="light"):
        """Load a file, and return once its script has run."""
        self.flaws.clear()
        self.requests.clear()
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", features=features)
        self.send("Page.navigate", url=path.as_uri())
        self.wait(f"location.href == {path.as_uri()!r} && document.readyState == 'complete'")
        self.frames()

    def inside(self, script):
        """The value of a JavaScript expression in the newest frame within the page."""
        return self.run(script, contextId=max(self._frames))

    def run(self, script, **where):
        """The value of a JavaScript expression in the page."""
        result = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, **where
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, script):
        """Return once the expression holds, asked again with each picture the page draws."""
        until = time.monotonic() + WITHIN_S
        while not self.run(script):
            assert time.monotonic() < until, f"never true: {script}"
            self.frames()

    def frames(self):
        """Let the page draw twice: what it was about to show is shown."""
        self.run("new Promise(d => requestAnimationFrame(() => requestAnimationFrame(() => d(1))))")

    def press(self, *keys):
        for key in keys:
            code, number, text = KEYS.get(key, ("", ord(key.upper()[0]), key))
            about = {"key": key, "code": code, "windowsVirtualKeyCode": number}
            self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
            self.send("Input.dispatchKeyEvent", type="keyUp", **about)
        self.frames()

    def click(self, script):
        """Click with the mouse in the middle of the element that the expression gives."""
        x, y = self.run(
            f"(() => {{ const e = {script}; e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect();"
            " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        self.click_at(x, y)

    def click_at(self, x, y):
        self.drag((x, y), (x, y))

    def drag(self, start, end):
        """Press the mouse at one point and release it at another, in the window."""
        steps = [("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)]
        for kind, (x, y) in steps:
            self.send(
                "Input.dispatchMouseEvent",
                type=kind, x=x, y=y, button="left", buttons=1, clickCount=1,
            )  # fmt: skip
        self.frames()

    def text(self, selector):
        return self.run(f"document.querySelector({selector!r}).innerText")

    def screenshot(self, path):
        path.write_bytes(b64decode(self.send("Page.captureScreenshot")["data"]))


@contextmanager
def chromium():
    """A browser that is gone, with its profile, when the block is left."""
    asks_out, asks = os.pipe()
    answers, answers_in = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        script = f'exec "$0" "$@" 3</dev/fd/{asks_out} 4>/dev/fd/{answers_in}'
        with subprocess.Popen(
            ["sh", "-c", script, PROGRAM, *OPTIONS, f"--user-data-dir={Path(profile, 'user')}"],
            pass_fds=(asks_out, answers_in),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as browser:
            os.close(asks_out)
            os.close(answers_in)
            try:
                started = Chromium(asks, answers)
                yield started
                started.send("Browser.close")
            finally:
                os.close(asks)
                try:
                    browser.wait(10)
                except subprocess.TimeoutExpired:
                    browser.kill()
                os.close(answers)
