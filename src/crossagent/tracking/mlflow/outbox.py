"""What is to be tracked, on disk before it is sent: an append-only file of JSON lines, and how far each target has it.

A run's ``tracking/`` holds ``spool.jsonl`` (everything that was ever logged, each record with its time), ``sent.json``
(per tracking URI: the byte up to which the target has it, and its run ids) and, only where a target refused something,
``rejected.jsonl``. Because the file stays, another target can be given the whole run later.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from crossagent.errors import DataError
from crossagent.tracking.files import read_json, write_json

FOLDER = "tracking"
"""The spool's directory in a run directory."""


@dataclass(frozen=True)
class Record:
    """One line of the spool."""

    content: dict[str, Any]
    """``t`` in milliseconds since the epoch, ``op``, ``run`` (``""``: the parent), and what the operation needs."""
    end: int
    """Byte after the line."""


@dataclass
class Sent:
    """What one target has."""

    uri: str
    """For people: without user and password."""
    offset: int = 0
    runs: dict[str, str] = field(default_factory=dict)
    """Our name of a run → the target's id."""
    rejected: int = 0


class Spool:
    """The spool of one run. Several processes may append; one at a time sends (:meth:`sending`)."""

    def __init__(self, directory: Path) -> None:
        """Open the spool in ``directory``; nothing is written before the first record."""
        self.directory = directory
        self.path = directory / "spool.jsonl"
        self._handle: int | None = None
        self._lock = threading.Lock()

    @property
    def base(self) -> Path:
        """The directory that paths in records are relative to: the run's."""
        return self.directory.parent

    def append(self, op: str, run: str, **content: Any) -> None:
        """Add one record with the time of now. On return it survives the end of this process, however that comes."""
        line = json.dumps({"t": time.time_ns() // 1_000_000, "op": op, "run": run, **content}, allow_nan=False) + "\n"
        with self._lock:
            if self._handle is None:
                self.directory.mkdir(parents=True, exist_ok=True)
                self._handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
                size = os.fstat(self._handle).st_size
                if size and os.pread(self._handle, 1, size - 1) != b"\n":
                    os.write(self._handle, b"\n")  # a line torn by a crash stays a line of its own, and is passed over
            os.write(self._handle, line.encode())

    def sync(self) -> None:
        """Make what was appended survive a power cut too."""
        if self._handle is not None:
            os.fsync(self._handle)

    def close(self) -> None:
        """Close the file; a later :meth:`append` opens it again."""
        with self._lock:
            if self._handle is not None:
                os.fsync(self._handle)
                os.close(self._handle)
                self._handle = None

    def records(self, offset: int = 0) -> Iterator[Record]:
        """Yield the complete records after a byte, in order; a line that is no record is passed over."""
        if not self.path.is_file():
            return
        with open(self.path, "rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                try:
                    content = json.loads(line)
                except ValueError:
                    continue
                if isinstance(content, dict) and {"t", "op", "run"} <= content.keys():
                    yield Record(content, offset)

    def sent(self, uri: str) -> Sent:
        """Return what a target has; nothing, if it is new."""
        found = self._targets().get(_key(uri))
        return Sent(**found) if found else Sent(redacted(uri))

    def keep_sent(self, uri: str, sent: Sent) -> None:
        """Remember what a target has; of a run that was removed meanwhile there is nothing to remember."""
        if not self.directory.is_dir():
            return
        targets = self._targets()
        targets[_key(uri)] = asdict(sent)
        write_json(self.directory / "sent.json", {"targets": targets})

    def pending(self, uri: str) -> int:
        """Return the number of records that a target does not have yet."""
        return sum(1 for _ in self.records(self.sent(uri).offset))

    def reject(self, record: Record, reason: str) -> None:
        """Keep a record that a target refused for good, so that nothing is lost without a trace."""
        with open(self.directory / "rejected.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({**record.content, "reason": reason}) + "\n")

    @contextmanager
    def sending(self) -> Iterator[bool]:
        """Become the process that sends; False when another one is."""
        import fcntl

        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self.directory / ".sender.lock", "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True

    def _targets(self) -> dict[str, Any]:
        file = self.directory / "sent.json"
        if not file.is_file():
            return {}
        try:
            targets: dict[str, Any] = read_json(file)["targets"]
        except (DataError, KeyError, TypeError):
            return {}  # then everything is sent again, which changes nothing for who has it
        return targets


def redacted(uri: str) -> str:
    """Return a URI without user, password and query: fit to be shown and kept."""
    parts = urlsplit(uri)
    if not parts.hostname:
        return uri
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))


def _key(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()[:16]  # a URI may hold a password; its hash tells targets apart
