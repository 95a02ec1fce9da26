"""A trajectory becomes an agent → turn → generate, execute tree with everything that happened in it."""

from __future__ import annotations

import base64
import json
import math

import pytest
from tracking_kit import EVENT, trajectory, turn

from crossagent.tracking.mlflow.traces import TICK_NS, TOKEN_NS, feedback, sample, spans, trace_id

START = 1_700_000_000_000_000_000


def test_the_tree_holds_each_turn_with_its_generation_and_execution() -> None:
    played = trajectory(
        turn(events=(EVENT,), payload={"block": "oak_log"}),
        turn("gui", "Gui: click(9)", invalid="no such slot", ticks=0),
    )
    made = spans(played, trace_id("run", "file", 0), START)
    by_id = {span["span_id"]: span for span in made}
    assert len(by_id) == len(made) == 7
    assert [span["name"] for span in made] == [
        "mine_block:oak_log", "turn 1", "generate", "execute", "turn 2", "generate", "execute",
    ]  # fmt: skip
    parents = [by_id[span["parent_span_id"]]["name"] if span["parent_span_id"] else None for span in made]
    assert parents == [None, *["mine_block:oak_log", "turn 1", "turn 1"], *["mine_block:oak_log", "turn 2", "turn 2"]]
    assert len({span["trace_id"] for span in made}) == 1
    generate, execute = made[2], made[3]
    assert generate["end_time_unix_nano"] - START == 2 * TOKEN_NS, "a forced token takes no time"
    assert execute["end_time_unix_nano"] - execute["start_time_unix_nano"] == 4 * TICK_NS
    assert made[0]["end_time_unix_nano"] == made[-1]["end_time_unix_nano"] == START + 4 * TOKEN_NS + 4 * TICK_NS
    attributes = {name: json.loads(value) for name, value in execute["attributes"].items()}
    assert attributes["mlflow.spanInputs"] == {"space": "api", "action": {"block": "oak_log"}}
    assert attributes["mlflow.spanOutputs"]["events"] == ["mine_block:oak_log"]
    tokens = json.loads(generate["attributes"]["mlflow.chat.tokenUsage"])
    assert tokens == {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}
    assert json.loads(generate["attributes"]["logprob"]) == -0.75
    assert [span["status"]["code"] for span in made[3:]] == [
        "STATUS_CODE_OK", "STATUS_CODE_ERROR", "STATUS_CODE_OK", "STATUS_CODE_ERROR",
    ]  # fmt: skip
    assert made[-1]["status"]["message"] == "no such slot"


def test_the_same_place_has_the_same_ids() -> None:
    assert trace_id("run", "file", 0) == trace_id("run", "file", 0) != trace_id("run", "file", 1)
    one, other = (spans(trajectory(), trace_id("run", "file", 0), start) for start in (0, 5))
    assert [span["span_id"] for span in one] == [span["span_id"] for span in other]


def test_feedback_is_success_and_return() -> None:
    won, lost = trajectory(), trajectory(turn("gui"), turn("gui"), success=False)
    weights = {"api": 0.1, "gui": 0.25}
    assert [(name, value) for name, value, _ in feedback(won, weights)] == [("success", True), ("return", 0.9)]
    assert [(name, value) for name, value, _ in feedback(lost, weights)] == [("success", False), ("return", -0.5)]
    assert "max_turns" in feedback(lost, weights)[0][2]


@pytest.mark.parametrize(
    ("wins", "count", "chosen"),
    [("1110000", 4, [0, 1, 3, 4]), ("0001", 4, [0, 1, 2, 3]), ("0000", 2, [0, 1]), ("1111", 3, [0, 1, 2]), ("", 3, [])],
)
def test_a_sample_has_successes_and_failures_where_there_are_both(wins: str, count: int, chosen: list[int]) -> None:
    played = [trajectory(success=win == "1") for win in wins]
    picked = sample(played, count)
    assert picked == chosen
    assert len(picked) == min(count, len(played))


def test_an_image_is_part_of_the_message_and_the_choice_of_space_beside_it() -> None:
    image = b"\x89PNG\r\n\x1a\n..."
    played = trajectory(turn(image=image, space_logprobs=(-0.25, float("-inf"))), turn(), spaces=("api", "gui"))
    first, second = (
        span["attributes"] for span in spans(played, trace_id("r", "f", 0), START) if span["name"] == "generate"
    )
    ((message,),) = json.loads(first["mlflow.spanInputs"]).values()
    picture, text = message["content"]
    assert picture["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(image).decode()}"
    assert text["text"] == played.turns[0].observation
    assert json.loads(first["space_probabilities"]) == {"api": pytest.approx(math.exp(-0.25)), "gui": 0.0}
    assert json.loads(second["mlflow.spanInputs"]) == {"observation": played.turns[1].observation}
    assert json.loads(second["space_probabilities"]) is None
