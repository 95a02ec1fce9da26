"""One headless Chromium per process, and its tabs, spoken to by the DevTools protocol over a pair of pipes.

A pipe rather than WebDriver: one round trip is under a millisecond, there is no port that another user of the machine could
reach, and Chromium ends by itself when the pipe closes, however its owner died.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from functools import cache
from pathlib import Path
from typing import Any

from crossagent.plugin import Unavailable, WorldLost

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHOSEN = "CROSSAGENT_CHROMIUM"
"""Environment variable with the path of another one."""
START_SECONDS = 60.0
PATIENCE_SECONDS = 15.0
"""A page that does not answer for so long has hung."""
_PROFILE = "crossagent-miniwob-"
_LONGEST = 64 << 20
"""Bytes of one message."""
_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    # Pages come from the package alone and nothing can be fetched; the sandbox needs a user namespace, which containers
    # seldom have.
    "--no-sandbox",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=127.0.0.1:9",  # the discard port: also addresses that are numbers lead nowhere
    "--proxy-bypass-list=<-loopback>",
    "--disable-gpu",
    "--in-process-gpu",  # a process and its switches fewer
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--lang=en-US",
    "--no-first-run",
    "--no-default-browser-check",
    "--mute-audio",
    "--password-store=basic",
    "--use-mock-keychain",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-smooth-scrolling",
    "--disable-features=Translate,MediaRouter,OptimizationHints,BackForwardCache,AutofillServerCommunication,SpareRendererForSitePerProcess",
)


_SHIM = (
    "import os, sys\n"
    "for end, place in ((int(sys.argv[1]), 3), (int(sys.argv[2]), 4)):\n"
    "    os.dup2(end, place); os.close(end)\n"
    "os.execv(sys.argv[3], sys.argv[3:])"
)
"""Chromium reads from descriptor 3 and writes to 4; Popen cannot put them there."""


class BrowserFailed(RuntimeError):
    """Chromium died, a page hung, or it said what it should not; the episode is lost. ``str`` is the reason."""


class BrowserLost(BrowserFailed, WorldLost):
    """Chromium was killed from outside, or went down with another world's page: the episode is worth another try."""


_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
"""Signals that a program does not get of its own making."""


@cache
def chromium() -> str:
    """Return the path of Chromium; raises :class:`Unavailable` in one line when there is none."""
    chosen = os.environ.get(CHOSEN)
    if chosen and not shutil.which(chosen):
        raise Unavailable(f"miniwob needs Chromium, and {CHOSEN}={chosen} is no program")
    found = chosen or next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        raise Unavailable(
            f"miniwob needs Chromium, and none of {', '.join(PROGRAMS)} is on the PATH; install it (Debian, Ubuntu: "
            f"sudo apt-get install chromium), or set {CHOSEN} to its path"
        )
    return found


class Browser:
    """A Chromium process. Never restarted: what broke is not gone on with."""

    def __init__(self) -> None:
        """Start it; raises :class:`Unavailable` without Chromium, :class:`BrowserFailed` when it does not start."""
        program = chromium()
        _remove_left_behind()
        self._profile = tempfile.mkdtemp(prefix=f"{_PROFILE}{os.getpid()}-")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        self._owner, self._id, self._rest = os.getpid(), 0, b""
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: dict[str, deque[dict[str, Any]]] = {}
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs_in, theirs_out)]
        words = [sys.executable, "-I", "-S", "-c", _SHIM, *map(str, high)]
        try:
            self.process = subprocess.Popen(
                [*words, program, *_FLAGS, f"--user-data-dir={self._profile}"],
                pass_fds=high,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
            )
        finally:
            for end in (theirs_in, theirs_out, *high):
                os.close(end)
        self.version = str(self.call("Browser.getVersion", patience=START_SECONDS)["product"])

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def new_tab(self, width: int, height: int) -> Tab:
        """Open an empty tab in a context of its own: no cookie, cache or storage is shared."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call(
            "Target.createTarget", url="about:blank", browserContextId=context, width=width, height=height
        )["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._events[session] = deque()
        return Tab(self, context, target, session)

    # -- messages --------------------------------------------------------------------------------------------------
    def call(
        self, method: str, session: str = "", patience: float = PATIENCE_SECONDS, **parameters: Any
    ) -> dict[str, Any]:
        """Send one command and return its result; raises :class:`BrowserFailed`."""
        return self.result(self.send(method, session, **parameters), patience)

    def send(self, method: str, session: str = "", **parameters: Any) -> int:
        """Send one command and return its number, for :meth:`result`."""
        self._id += 1
        message: dict[str, Any] = {"id": self._id, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        try:
            while data:
                data = data[os.write(self._out, data) :]
        except OSError as error:
            raise self._failed(f"{method}: {error}") from error
        return self._id

    def result(self, number: int, patience: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait for the answer to a command."""
        end = time.monotonic() + patience
        while number not in self._answers:
            self._read(end, patience)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise BrowserFailed(f"Chromium refused: {answer['error'].get('message', answer['error'])}")
        result: dict[str, Any] = answer["result"]
        return result

    def event(self, session: str, method: str, patience: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait for an event of a tab; those before it are dropped."""
        end, queue = time.monotonic() + patience, self._events[session]
        while True:
            while queue:
                found = queue.popleft()
                if found["method"] == method:
                    return found
            self._read(end, patience)

    def forget(self, session: str) -> None:
        """Drop the events of a tab."""
        if session in self._events:
            self._events[session].clear()

    def _read(self, end: float, patience: float) -> None:
        """Read what has come, waiting for at least one byte."""
        if not select.select([self._in], [], [], max(0.0, end - time.monotonic()))[0]:
            raise BrowserFailed(f"no answer in {patience:.0f} s: the page hangs")
        try:
            data = os.read(self._in, 1 << 18)
        except OSError as error:
            raise self._failed(str(error)) from error
        if not data:
            raise self._failed("it ended")
        *whole, self._rest = (self._rest + data).split(b"\0")
        if len(self._rest) > _LONGEST:
            raise self._failed("a message without an end")
        for line in whole:
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise self._failed(f"it said {line[:80]!r}, which is no message")
        if "id" in message:
            self._answers[message["id"]] = message
        elif message.get("method") in ("Inspector.targetCrashed", "Target.targetCrashed"):
            raise BrowserFailed("a page of Chromium crashed")
        elif message.get("sessionId") in self._events:
            self._events[message["sessionId"]].append(message)

    def _failed(self, reason: str) -> BrowserFailed:
        with contextlib.suppress(subprocess.TimeoutExpired):  # its pipe closes a moment before it can be reaped
            self.process.wait(timeout=1.0)
        code = self.process.poll()
        if code is not None and -code in _OUTSIDE:
            self.close()
            return BrowserLost(f"Chromium was killed by {signal.Signals(-code).name}")
        self.close()
        self._errors.seek(0)
        said = [line for line in self._errors.read()[-4000:].decode(errors="replace").splitlines() if line.strip()]
        last = next((line for line in reversed(said) if "ERROR" in line or "FATAL" in line or "rror:" in line), "")
        return BrowserFailed(f"Chromium failed: {reason}{f' ({last.strip()[:200]})' if last else ''}")

    def close(self) -> None:
        """End the process and remove its profile. Safe to call twice; a fork of the owner does nothing."""
        if os.getpid() != self._owner:
            return
        for end in (self._in, self._out):
            with contextlib.suppress(OSError):
                os.close(end)
        self._in = self._out = -1
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def __del__(self) -> None:
        if hasattr(self, "process") and not sys.is_finalizing():
            self.close()


class Tab:
    """One page of a browser."""

    def __init__(self, browser: Browser, context: str, target: str, session: str) -> None:
        self.browser, self.session = browser, session
        self._context, self._target = context, target
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether there is something to talk to."""
        return not self._closed and self.browser.alive

    @property
    def closed(self) -> bool:
        """Whether it was closed here, and not lost with its browser."""
        return self._closed

    def call(self, method: str, patience: float = PATIENCE_SECONDS, **parameters: Any) -> dict[str, Any]:
        """Send one command to this tab and return its result."""
        return self.browser.call(method, self.session, patience, **parameters)

    def send_all(self, commands: list[tuple[str, dict[str, Any]]]) -> None:
        """Send commands one after another, then wait until all have been carried out."""
        numbers = [self.browser.send(method, self.session, **parameters) for method, parameters in commands]
        for number in numbers:
            self.browser.result(number)

    def evaluate(self, expression: str) -> Any:
        """Return what an expression comes to, as JSON; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if wrong := answer.get("exceptionDetails"):
            said = wrong.get("exception", {}).get("description") or wrong.get("text", "")
            raise BrowserFailed(f"the page raised {str(said).splitlines()[0][:200]}")
        return answer["result"].get("value")

    def open(self, address: str) -> None:
        """Go to an address and wait until everything is loaded."""
        self.browser.forget(self.session)
        answer = self.call("Page.navigate", url=address)
        if answer.get("errorText"):
            raise BrowserFailed(f"{address}: {answer['errorText']}")
        self.browser.event(self.session, "Page.loadEventFired")

    def close(self) -> None:
        """Close the tab; ends the browser when even that does not work. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if not self.browser.alive or os.getpid() != self.browser._owner:
            return
        try:
            self.browser.call("Target.closeTarget", patience=5.0, targetId=self._target)
            self.browser.call("Target.disposeBrowserContext", patience=5.0, browserContextId=self._context)
        except BrowserFailed:
            self.browser.close()
        self.browser._events.pop(self.session, None)


_shared: list[Browser] = []


def shared() -> Browser:
    """Return this process's browser, a new one when the last has died (or belongs to a parent that was forked)."""
    if not _shared or not _shared[0].alive or _shared[0]._owner != os.getpid():
        close_shared()
        _shared[:] = [Browser()]
        _close_at_exit()
    return _shared[0]


def close_shared() -> None:
    """End this process's browser, if there is one."""
    while _shared:
        _shared.pop().close()


@cache
def _close_at_exit() -> None:
    import atexit

    atexit.register(close_shared)


def _remove_left_behind() -> None:
    """Remove the profiles of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PROFILE}*"):
        owner = folder.name.removeprefix(_PROFILE).partition("-")[0]
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (ValueError, PermissionError):
            continue


def kill(browser: Browser) -> None:
    """Kill a browser as an outsider would; for tests."""
    os.kill(browser.process.pid, signal.SIGKILL)
