"""One HTML file that shows trajectories without a network: markup, style, script and data in it.

Data is untrusted: an environment or a policy may write anything into a text. It goes into the page as JSON without ``<``,
or as base64, and the script puts it on screen as text only; the page's policy (CSP) lets nothing else run or load.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from crossagent.tracking.files import write_text
from crossagent.tracking.viewer.catalogue import Catalogue, Shown
from crossagent.tracking.viewer.tokens import TokenTexts
from crossagent.types import Turn

FORMAT = 1
SCRIPTS = ("common.js", "data.js", "tokens.js", "list.js", "detail.js", "viewer.js")
"""In this order one script; they share a scope."""
POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src data:; connect-src {connect}; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
)


MOST = 1000
"""Trajectories in one file, if nobody says how many."""
IMAGE_BYTES = 64 << 20
"""Of images in such a file; where they are more, it holds fewer trajectories."""


def write_page(run: Path, out: Path, most: int | None = None) -> tuple[int, int]:
    """Write the viewer of a run to ``out``, whole or not at all; return (trajectories shown, trajectories there are).

    Args:
        run: The run's directory.
        out: The file.
        most: Trajectories; None: :data:`MOST`, or as many as hold :data:`IMAGE_BYTES` of images.
    """
    catalogue = Catalogue(run)
    most = min(MOST, catalogue.holding(IMAGE_BYTES)) if most is None else most
    shown, total = catalogue.sample(most)
    write_text(out, page(catalogue, shown, total))
    return len(shown), total


def page(catalogue: Catalogue, shown: Sequence[Shown], total: int) -> str:
    """Return the HTML of these trajectories; equal trajectories give equal bytes.

    Args:
        catalogue: The run they are from.
        shown: Members of a group side by side.
        total: Number of trajectories there are in all.
    """
    texts = TokenTexts.of_run(catalogue.run)
    groups: dict[str, list[Shown]] = {}
    for one in shown:
        groups.setdefault(one.group_name, []).append(one)
    images: dict[bytes, int] = {}
    chunks = [_packed([_trajectory(one, images) for one in members]) for members in groups.values()]
    place = {name: number for number, name in enumerate(groups)}
    weights = catalogue.weights
    content = {
        "format": FORMAT,
        "run": catalogue.title,
        "total": total,
        "stages": list(catalogue.stages),
        "weights": weights,
        "tokenizer": texts.known,
        "rows": [_row(one, place[one.group_name], weights) for one in shown],
    }
    ids = {i for one in shown for turn in one.trajectory.turns for i in (*turn.prompt_ids, *turn.response_ids)}
    data = [
        f'<script type="application/json" id="index">{_json(content)}</script>',
        f'<script type="text/plain" id="tokens">{_packed(texts.table(ids))}</script>',
        f'<script type="text/plain" id="said">{_packed([_said(one) for one in shown])}</script>',
        *(f'<script type="text/plain" id="chunk-{n}">{chunk}</script>' for n, chunk in enumerate(chunks)),
        *(
            f'<script type="text/plain" id="image-{n}">{base64.b64encode(image).decode()}</script>'
            for image, n in images.items()
        ),
    ]
    return assemble("viewer.html", ("base.css", "viewer.css"), SCRIPTS, catalogue.title, "\n".join(data))


def assemble(
    template: str, styles: Sequence[str], scripts: Sequence[str], title: str, data: str = "", connect: str = "'none'"
) -> str:
    """Return a page from this package's assets: style and script inlined and named by hash in its policy.

    Args:
        template: The markup's file.
        styles: The style sheet's parts, in order.
        scripts: The script's.
        title: Goes into the markup, escaped.
        data: Markup of data elements; the caller has escaped it.
        connect: What the script may fetch from, as CSP names it.
    """
    css, script = "\n".join(asset(name) for name in styles), "\n".join(asset(name) for name in scripts)
    policy = POLICY.format(script=_hash(script), style=_hash(css), connect=connect)
    values = {"policy": policy, "title": html.escape(title), "style": css, "script": script, "data": data}
    # One pass: what is put in is not looked at again, whatever it holds.
    return re.sub(r"\{\{(\w+)\}\}", lambda marker: values[marker[1]], asset(template))


def asset(name: str) -> str:
    """Return the text of one of this package's assets."""
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _json(content: Any) -> str:
    """Return JSON that can stand inside a script element: no ``<`` closes it or opens a comment."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _packed(content: Any) -> str:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _row(one: Shown, chunk: int, weights: Mapping[str, float]) -> dict[str, Any]:
    """Return what the list and its filters know of a trajectory."""
    trajectory, source = one.trajectory, one.source
    cost = trajectory.weighted_cost(weights)
    return {
        "name": one.name,
        "chunk": chunk,
        "stage": source.stage,
        "which": source.which,
        "step": source.step,
        "task": trajectory.task,
        "category": trajectory.category,
        "instruction": trajectory.instruction,
        "success": trajectory.success,
        "ending": trajectory.stop_reason.value,
        "turns": len(trajectory.turns),
        "ticks": trajectory.ticks,
        "cost": _number(cost),
        "return": _number(float(trajectory.success) - cost),
        "spaces": list(dict.fromkeys(turn.space or "none" for turn in trajectory.turns)),
        "group": trajectory.group,
        "member": trajectory.member,
    }


def _trajectory(one: Shown, images: dict[bytes, int]) -> dict[str, Any]:
    """Return what the detail view knows of a trajectory."""
    trajectory = one.trajectory
    turns: list[dict[str, Any]] = []
    before: tuple[int, ...] = ()
    for number, turn in enumerate(trajectory.turns):
        credit = one.credit[number] if one.credit else None
        shared = _common(before, turn.prompt_ids)
        before = (*turn.prompt_ids, *turn.response_ids)
        turns.append(
            {
                # Prompts grow by a turn each time: only what the turn before does not hold is written.
                "shared": shared,
                "prompt": list(turn.prompt_ids[shared:]),
                "response": list(turn.response_ids),
                "forced": turn.forced,
                "logprobs": _numbers(turn.sampler_logprobs),
                "finish": turn.finish_reason,
                **_happened(turn),
                "image": images.setdefault(turn.image, len(images)) if turn.image else None,
                "choice": _numbers(turn.space_logprobs),
                "advantage": None if credit is None else _number(credit.advantage),
                "trains": None if credit is None else [int(m) for m in credit.loss_mask],
                "old": None if credit is None else _numbers(credit.logprobs),
                "ref": None if credit is None else _numbers(credit.ref_logprobs),
            }
        )
    return {
        "name": one.name,
        "env": trajectory.env,
        "seed": str(trajectory.seed),  # 64 bits; JavaScript's numbers have 53
        "state": trajectory.state_hash,
        "spaces": list(trajectory.spaces),
        "failure": trajectory.failure,
        "turns": turns,
    }


def _happened(turn: Turn) -> dict[str, Any]:
    return {
        "observation": turn.observation,
        "text": turn.text,
        "space": turn.space,
        "payload": None if turn.payload is None else json.dumps(turn.payload, ensure_ascii=False),
        "invalid": turn.invalid,
        "ticks": turn.ticks,
        "reward": _number(turn.reward),
        "cost": _number(turn.cost),
        "error": turn.error,
        "events": [[event.kind, event.name, event.count] for event in turn.events],
    }


def _said(one: Shown) -> str:
    """Return what a free-text search looks through, beside the list's own columns."""
    parts = [one.trajectory.failure]
    parts += [text for turn in one.trajectory.turns for text in (turn.text, turn.invalid, turn.error)]
    return "\n".join(part for part in parts if part)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    length = min(len(a), len(b))
    return next((k for k in range(length) if a[k] != b[k]), length)


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: float) -> float | None:
    """Round to what is read; what is no finite number becomes None."""
    return round(float(value), 4) if math.isfinite(value) else None
