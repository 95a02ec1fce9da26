"""Where Node and the bridge's packages are, and what to say when they are not."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from functools import cache
from importlib.resources import files
from pathlib import Path

from crossagent.plugin import Unavailable

LEAST = 20
"""Node's major version."""


def sources() -> Path:
    """Return the folder of the bridge's own JavaScript."""
    return Path(str(files("crossagent_minecraft") / "bridge"))


def home() -> Path:
    """Return the folder that holds what is installed: ``CROSSAGENT_MINECRAFT_HOME``, else the user's data folder."""
    chosen = os.environ.get("CROSSAGENT_MINECRAFT_HOME")
    if chosen:
        return Path(chosen)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "crossagent" / "minecraft"


def packages() -> Path:
    """Return the folder of the Node packages, one per content of the lock file."""
    lock = (sources() / "package-lock.json").read_bytes()
    return home() / hashlib.blake2b(lock, digest_size=6).hexdigest() / "node_modules"


@cache
def node() -> str:
    """Return the path of Node; raises :class:`Unavailable` in one line when it is missing or too old."""
    found = shutil.which("node")
    if found is None:
        raise Unavailable(f"minecraft needs Node {LEAST} or newer, and there is no `node` on the PATH; install it")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    version = re.match(r"v(\d+)\.", said)
    if version is None or int(version[1]) < LEAST:
        raise Unavailable(f"minecraft needs Node {LEAST} or newer; {found} is {said or 'of no known version'}")
    return found


def missing() -> str:
    """Return in one line what is missing before a world can start; empty when nothing is."""
    try:
        node()
    except Unavailable as error:
        return str(error)
    if not (packages() / "mineflayer").is_dir():
        return f"the Node packages of the Minecraft bridge are not in {packages().parent}; run: crossagent minecraft install"
    return ""
