"""The thread that sends a run's spool to MLflow, and tries again for as long as the server is away."""

from __future__ import annotations

import logging
import threading
import time
from itertools import islice
from pathlib import Path

from crossagent.tracking.mlflow.outbox import FOLDER, Record, Spool, redacted
from crossagent.tracking.mlflow.writer import Sink, import_mlflow

log = logging.getLogger(__name__)
SEND_EVERY_S = 5.0
"""Records are sent in batches of this many seconds: one call of MLflow for many rows."""
BACK_OFF_S = (1.0, 60.0)
"""First and longest pause before trying again."""
READ_AT_ONCE = 200
SYNC = "crossagent sync"


class Sender(threading.Thread):
    """Sends the spool, again and again, until it is told to finish. A daemon: a server that hangs holds no process up."""

    def __init__(self, uri: str, spool: Spool) -> None:
        super().__init__(name="crossagent-tracking", daemon=True)
        self._uri, self._spool = uri, spool
        self._ending, self._abandoned = threading.Event(), False
        self._progress = time.monotonic()
        self._warned = False

    def finish(self, patience_s: float) -> None:
        """Wait until all is sent, or nothing has gone through for ``patience_s`` seconds."""
        self._progress = time.monotonic()
        self._ending.set()
        while self.is_alive() and time.monotonic() - self._progress < patience_s:
            self.join(0.05)
        self._abandoned = True
        self.join(1.0)

    def run(self) -> None:
        """Send, once no other process does; until then that one sends our records with its own."""
        self._ending.wait(SEND_EVERY_S)  # a run that fails at once has made no database
        while not self._abandoned:
            with self._spool.sending() as mine:
                if mine:
                    self._send_forever()
                    return
            if self._ending.is_set() and not self._spool.pending(self._uri):
                return
            time.sleep(0.5)

    def _send_forever(self) -> None:
        sink, pause = Sink(self._uri, self._spool), SEND_EVERY_S
        while not self._abandoned:
            last = self._ending.is_set()  # before the spool is read: what was logged until then is sent
            try:
                self._spool.sync()
                while not self._abandoned and (records := self._next(sink.sent.offset)):
                    before = sink.sent.rejected
                    sink.apply(records)
                    self._progress = time.monotonic()
                    if sink.sent.rejected > before:
                        log.warning("MLflow refused %d records; %s holds them, with the reasons",
                                    sink.sent.rejected - before, self._spool.directory / "rejected.jsonl")  # fmt: skip
                pause, self._warned = SEND_EVERY_S, False
                if last:
                    return
            except Exception as error:
                sink = Sink(self._uri, self._spool)  # a fresh client, and what has arrived so far
                pause = BACK_OFF_S[0] if pause == SEND_EVERY_S else min(2 * pause, BACK_OFF_S[1])
                if not self._warned:
                    self._warned = True
                    log.warning(
                        "MLflow at %s does not answer (%s); the run goes on, its records wait in %s",
                        redacted(self._uri),
                        _brief(error),
                        self._spool.path,
                    )
            if last:
                time.sleep(0.5)  # finish() decides how often that is worth it
            else:
                self._ending.wait(pause)

    def _next(self, offset: int) -> list[Record]:
        return list(islice(self._spool.records(offset), READ_AT_ONCE))


def sync(directory: Path, uri: str, patience_s: float = 60.0) -> tuple[int, int]:
    """Send what a run's spool holds and a target does not have. Returns how many records were sent, and how many are left."""
    spool = Spool(directory / FOLDER)
    before = spool.pending(uri)
    if not before:
        return 0, 0
    import_mlflow()
    sender = Sender(uri, spool)
    sender.start()
    sender.finish(patience_s)
    left = spool.pending(uri)
    return before - left, left


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}{'…' if len(text) > 200 else ''}"
