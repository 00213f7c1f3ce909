"""A headless Chromium, spoken to over its debugging pipe (the DevTools protocol): it needs no driver and no library."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}
PATIENCE_S = 60


def find_browser():
    return next(filter(None, map(shutil.which, NAMES)), None)


def browser_of_a_session(tmp_path_factory):
    """What a fixture `browser` yields: a browser until the end of its scope, or the test is skipped."""
    import pytest

    program = find_browser()
    if not program:
        pytest.skip("no Chromium here (Debian package chromium): pages are not opened")
    started = Browser(program, tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


def high_pipe():
    """Ends that cannot be 3 or 4, where the browser expects its own."""
    return tuple(fcntl.fcntl(end, fcntl.F_DUPFD, 50) for end in os.pipe())


class Browser:
    """One browser with one page. `errors` holds what went wrong in the page, `requests` what it asked for."""

    def __init__(self, program, profile):
        commands, self.commands = high_pipe()
        self.answers, answers = high_pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        redirected = ["bash", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "bash", program, *flags, "about:blank"]
        self.process = subprocess.Popen(redirected, pass_fds=(commands, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(commands)
        os.close(answers)
        self.read, self.number, self.session, self.errors, self.requests, self.loaded = b"", 0, None, [], [], False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        os.close(self.commands)
        os.close(self.answers)

    def next_message(self):
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self.read:
            ready, _, _ = select.select([self.answers], [], [], max(0, deadline - time.monotonic()))
            chunk = os.read(self.answers, 1 << 20) if ready else b""
            if not chunk:
                raise RuntimeError("the browser gave no answer")
            self.read += chunk
        message, self.read = self.read.split(b"\0", 1)
        return json.loads(message)

    def take_event(self, message):
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(parameters["exceptionDetails"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters} | ({"sessionId": self.session} if self.session else {})
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next_message()
            if answer.get("id") != self.number:
                self.take_event(answer)
                continue
            if "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            return answer["result"]

    def open(self, page, width=1280, height=900, dark=False):
        """A file, or a URL."""
        self.errors, self.requests, self.loaded = [], [], False
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Page.navigate", url=page if str(page).startswith("http") else Path(page).resolve().as_uri())
        while not self.loaded:
            self.take_event(self.next_message())
        self.settle()

    def settle(self):
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 20))))")

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def press(self, key):
        more = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=KEYS[key], **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def screenshot(self, path, whole=True):
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))
