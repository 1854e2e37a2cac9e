"""A headless Chromium for tests: open a page, take pictures, collect its errors."""

import base64
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    # A page that needs the network fails.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-port=0",
)


def chromium():
    """Path of Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """A tab of the browser, driven by the DevTools protocol."""

    def __init__(self, socket):
        self._socket, self._number = socket, 0
        self.errors: list[str] = []
        self.requests: list[str] = []

    def call(self, method, **params):
        """Send a command and wait for its answer; events on the way are kept."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._event(message.get("method", ""), message.get("params", {}))

    def _event(self, method, params):
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"])[:600])
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(json.dumps(params["args"])[:600])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"][:200])

    def run(self, script):
        """Value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"]
        return result.get("value")

    def wait_for(self, script, seconds=30.0):
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > end:
                raise TimeoutError(f"{script} is not true after {seconds} s; errors: {self.errors}")
            time.sleep(0.1)

    def picture(self):
        """What is seen, (H, W, 3) RGB."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return image[..., ::-1]


@contextmanager
def open_page(url, folder, size_px=(960, 640)):
    """Open `url` in a new Chromium that keeps its files in `folder`."""
    from websockets.sync.client import connect

    profile = Path(folder) / "chromium"
    command = [chromium(), *FLAGS, f"--window-size={size_px[0]},{size_px[1]}"]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with connect(_tab(profile), max_size=None) as socket:
            page = Page(socket)
            for domain in ("Runtime", "Page", "Network"):
                page.call(f"{domain}.enable")
            page.call("Page.navigate", url=url)
            yield page
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tab(profile, seconds=40.0):
    """WebSocket address of the browser's tab."""
    from urllib.request import urlopen

    end = time.monotonic() + seconds
    file = profile / "DevToolsActivePort"
    while time.monotonic() < end:
        if file.exists() and (lines := file.read_text().splitlines()):
            with urlopen(f"http://127.0.0.1:{lines[0]}/json/list", timeout=10) as answer:
                tabs = [t for t in json.load(answer) if t["type"] == "page"]
            if tabs:
                return tabs[0]["webSocketDebuggerUrl"]
        time.sleep(0.1)
    raise TimeoutError("Chromium did not start")
