"""Serves a game to crossagent: one JSON object a line over an inherited socket. Runs under the game's own interpreter and
imports nothing of crossagent.

``serve.py FD ADAPTER OPTIONS``: the adapter is a Python file with a class ``Game``::

    Game(options)                     imports the game; an exception's text is what the user reads
    .about()                          what actions and items there are, JSON-able
    .reset(task, seed, setup) → frame
    .step(action) → frame
    .close()

A frame is a dict: ``pov`` (uint8 [height, width, 3], or None), ``inventory`` ([slot or None, item, count] each), ``held``,
``gui`` (whether a window is open), ``place`` ([x, y, z, pitch, yaw] or None), ``life`` (or None), ``counts`` ({statistic: {name:
count since the world began}}), ``reward``, ``done``.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

PROTOCOL = 1


def load(path: str) -> Any:
    """Return the class ``Game`` of an adapter's file."""
    spec = importlib.util.spec_from_file_location("adapter", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Game


def packed(frame: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a frame as JSON takes it: the picture's bytes in base64, with its height and width."""
    pov = frame.get("pov")
    if pov is None:
        return frame
    if pov.dtype != "uint8" or pov.ndim != 3 or pov.shape[2] != 3:
        raise ValueError(f"pov: got {pov.dtype} {pov.shape}; expected uint8 [height, width, 3]")
    return {**frame, "pov": base64.b64encode(pov.tobytes()).decode("ascii"), "size": [pov.shape[1], pov.shape[0]]}


def answer(game: Any, asked: Mapping[str, Any]) -> Any:
    """Carry out one command; returns what it is answered."""
    cmd = asked["cmd"]
    if cmd == "about":
        return game.about()
    if cmd == "reset":
        return packed(game.reset(asked["task"], asked["seed"], asked["setup"]))
    if cmd == "step":
        return packed(game.step(asked["action"]))
    raise ValueError(f"unknown command {cmd!r}")


def main(words: Sequence[str]) -> int:
    """Serve until the pipe is closed."""
    descriptor, adapter, options = int(words[1]), words[2], json.loads(words[3])
    pipe = socket.socket(fileno=descriptor)
    reader, writer = pipe.makefile("r", encoding="utf-8"), pipe.makefile("w", encoding="utf-8")

    def say(line: Mapping[str, Any]) -> None:
        writer.write(json.dumps(line) + "\n")
        writer.flush()

    def reason(error: BaseException) -> str:
        traceback.print_exc()
        text = " ".join(str(error).split())
        return text or type(error).__name__

    try:
        game = load(adapter)(options)
    except Exception as error:
        say({"error": reason(error)})
        return 1
    say({"hello": "crossagent-game", "protocol": PROTOCOL})
    try:
        for line in reader:
            asked = json.loads(line)
            try:
                say({"id": asked["id"], **answer(game, asked)})
            except Exception as error:
                say({"id": asked["id"], "error": reason(error)})
    finally:
        game.close()
    return 0


if __name__ == "__main__":
    code = main(sys.argv)
    sys.stderr.flush()
    os._exit(code)  # a game's threads do not keep its interpreter from ending
