"""A run that never was, written through the store: what is rare in a real one (attacks, images, 200 turns) is here."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models

from crossagent.envs.images import png
from crossagent.rollout.credit import TurnCredit, credit_file, save_credits
from crossagent.rollout.store import save_trajectories, step_file
from crossagent.types import Event, StopReason, Trajectory, Turn

ATTACK = "<script>alert(1)</script>"
CLOSING = "</script><!--<script><img src=x onerror=alert(2)>"
SPACES = ("api", "gui", "control")
HEADERS = {"api": "Api:", "gui": "Gui:", "control": "Action:"}
WORDS = [
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    *HEADERS.values(),
    " see",
    " oak",
    "_log",
    " 12",
    "\n",
    "\u202e",
    ATTACK,
]
WORDS += [f" word{k}" for k in range(40)]
IDS = {word: number for number, word in enumerate(WORDS)}
RECIPE = """
run_name: made-up
stages: [sft, mtrl]
spaces: {api: {weight: 0.1}, gui: {weight: 0.05}, control: {weight: 0.02}}
"""


def ids(*words: str) -> tuple[int, ...]:
    return tuple(IDS[word] for word in words)


def picture(k: int) -> bytes:
    """A frame in which a red square walks."""
    image = np.full((32, 32, 3), 40, np.uint8)
    x, y = (3 * k) % 28, (3 * k) // 28 % 28
    image[y : y + 4, x : x + 4] = (220, 30, 30)
    return png(image)


def turn(k: int, space: str = "api", *, image: bool = False, before: tuple[int, ...] = (), **more: object) -> Turn:
    """One turn; its prompt is ``before``, everything so far, and a bit."""
    draw = random.Random(f"{k} {space}")
    words = [f" word{draw.randrange(40)}" for _ in range(4)]
    response = ids(HEADERS[space], *words, "\n", "<|end|>")
    chances = {"api": 0.6, "gui": 0.3, "control": 0.08}
    values: dict[str, object] = {
        "prompt_ids": (*before, *ids("<|user|>", " see", " oak", "_log", f" word{k % 40}", "<|assistant|>")),
        "response_ids": response,
        "sampler_logprobs": (math.log(chances[space]), -0.01, -0.5, -1.5, -3.0, -7.0, -0.2),
        "observation": f"see oak_log {k}",
        "text": HEADERS[space] + "".join(words),
        "space": space,
        "payload": ["go", k],
        "ticks": 3 + k % 5,
        "cost": 1.0,
        "space_logprobs": tuple(math.log(chances[s]) for s in SPACES),
        "image": picture(k) if image else b"",
    }
    return Turn(**{**values, **more})  # type: ignore[arg-type]


def trajectory(task: str, group: int, member: int, turns: list[Turn], success: bool, **more: object) -> Trajectory:
    values: dict[str, object] = {
        "task": task,
        "category": task.partition(":")[0],
        "env": "made-up",
        "seed": 2**62 + group,
        "group": group,
        "member": member,
        "turns": tuple(turns),
        "stop_reason": StopReason.terminated if success else StopReason.max_turns,
        "success": success,
        "state_hash": f"{group:04x}",
        "spaces": SPACES,
        "instruction": f"Please do {task}.",
    }
    return Trajectory(**{**values, **more})  # type: ignore[arg-type]


def credit(one: Trajectory, advantage: float) -> tuple[TurnCredit, ...]:
    """What training made of it; the reference agrees less and less along a response."""
    return tuple(
        TurnCredit(
            advantage,
            (True,) * len(t.response_ids),
            t.sampler_logprobs,
            tuple(p - 0.3 * k for k, p in enumerate(t.sampler_logprobs)),
        )
        for t in one.turns
    )


def step_one() -> list[Trajectory]:
    """A group of three that ended differently, and one that teaches nothing."""
    mine = [
        trajectory("mine:oak", 0, 0, [turn(0, "api"), turn(1, "gui", error="out of reach"), turn(2, "control")], False),
        trajectory(
            "mine:oak",
            0,
            1,
            [turn(0, "gui"), turn(1, "gui", events=(Event("mine_block", "oak_log", 2),), reward=1.0)],
            True,
        ),
        trajectory("mine:oak", 0, 2, [turn(0, "api", invalid="no such call: fly", payload=None)], False),
    ]
    lost = [
        trajectory("craft:axe", 1, member, [turn(5, "control")], False, stop_reason=stop, failure=failure)
        for member, (stop, failure) in enumerate([(StopReason.cut, ""), (StopReason.failure, "the world hung")])
    ]
    return mine + lost


def evaluation() -> list[Trajectory]:
    """An attack by text, 200 turns with images, a forced header, an expert without tokens, a world that never began."""
    evil = turn(0, "api", observation=f"{ATTACK} {CLOSING}", text=CLOSING, error=ATTACK, response_ids=ids("Api:", ATTACK, "\u202e", "<|end|>"),
                sampler_logprobs=(-0.1, -0.2, -0.3, -0.4), payload={"<b>": CLOSING})  # fmt: skip
    long, before = [], ()
    for k in range(200):
        long.append(turn(k, SPACES[k % 3], image=True, before=before))
        before = (*long[-1].prompt_ids, *long[-1].response_ids)
    forced = turn(3, "gui", forced=1, sampler_logprobs=(0.0, -0.1, -0.2, -0.3, -0.4, -0.5, -0.6), space_logprobs=())
    expert = turn(4, "api", prompt_ids=(), response_ids=(), sampler_logprobs=(), space_logprobs=())
    return [
        trajectory(ATTACK, 0, 0, [evil], False, instruction=f"{ATTACK}{CLOSING}", category=CLOSING, env=ATTACK),
        trajectory("walk:far", 1, 0, long, True),
        trajectory("look:once", 2, 0, [forced], False, spaces=("gui",)),
        trajectory("look:expert", 3, 0, [expert], True),
        trajectory("look:never", 4, 0, [], False, stop_reason=StopReason.failure, failure="the world died"),
    ]


def made_up_run(run: Path) -> Path:
    """Write the run and return its directory."""
    checkpoint = run / "untrained" / "checkpoint"
    checkpoint.mkdir(parents=True)
    (run / "recipe.yaml").write_text(RECIPE)
    Tokenizer(models.WordLevel(IDS, unk_token="<|end|>")).save(str(checkpoint / "tokenizer.json"))
    save_trajectories(run / "sft/trajectories/evaluation-id-mixed.parquet", evaluation(), {"stage": "sft"})
    played = step_one()
    save_trajectories(step_file(run / "mtrl/trajectories", 1), played, {"stage": "mtrl", "step": 1})
    advantages = [-0.25, 0.75, -0.5]
    credits = [credit(t, a) for t, a in zip(played, advantages, strict=False)]
    credits += [tuple(TurnCredit(math.nan) for _ in t.turns) for t in played[3:]]
    save_credits(credit_file(run / "mtrl/trajectories", 1), played, credits)
    many = [trajectory(f"many:{k % 7}", k, 0, [turn(k, SPACES[k % 3])], k % 2 == 0) for k in range(60)]
    save_trajectories(run / "sft/trajectories/evaluation-ood-mixed.parquet", many, {"stage": "sft"})
    (run / "mtrl/metrics.jsonl").write_text(
        "".join(
            json.dumps(
                {
                    "step": k,
                    "rollout/success": k / 10,
                    "space/api/share": 0.5,
                    "space/gui/share": k / 20,
                    "train/loss": -k / 7,
                }
            )
            + "\n"
            for k in range(1, 9)
        )
    )
    return run
