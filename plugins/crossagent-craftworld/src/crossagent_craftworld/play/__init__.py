"""``crossagent play craftworld``: a person plays a task in the browser, by keys and mouse, on loopback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

PORT = 8708
TASK = "mine_block:oak_log"


def main(words: Sequence[str]) -> int:
    """Run the command with the words after its name; returns the exit code."""
    parser = argparse.ArgumentParser(prog="crossagent play", description="Play a task yourself, in the browser.")
    parser.add_argument("world", choices=["craftworld"], help="the environment")
    parser.add_argument(
        "--task", default=TASK, help=f"its name; crossagent tasks craftworld lists them (default: {TASK})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the episode (default: 0)")
    parser.add_argument("--port", type=int, default=PORT, help=f"of 127.0.0.1 (default: {PORT}; 0: any free one)")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the environment, e.g. hunger=true",
    )
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    args = parser.parse_args(words)
    from crossagent_craftworld.play.server import ADDRESS, serve
    from crossagent_craftworld.play.session import Session

    try:
        session = Session(args.task, args.seed, _options(args.option))
        server = serve(session, args.port)
    except (ValueError, TypeError, OSError, OverflowError) as error:
        where = f"--port {args.port}: cannot listen there: " if isinstance(error, OSError | OverflowError) else ""
        print(f"crossagent: play: {where}{error}", file=sys.stderr)
        return 2
    with server:
        address = f"http://{ADDRESS}:{server.server_address[1]}/"
        print(f"{args.task}: {address} (Ctrl-C ends it)", flush=True)
        if args.open:
            import webbrowser

            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def _options(words: Sequence[str]) -> dict[str, object]:
    """Return KEY=VALUE words as options: numbers, true and false are what they look like."""
    import json

    out: dict[str, object] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise ValueError(f"--option {word}: expected KEY=VALUE")
        try:
            out[key] = json.loads(value)
        except json.JSONDecodeError:
            out[key] = value
    return out
