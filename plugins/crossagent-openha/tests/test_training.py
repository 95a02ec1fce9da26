"""A synthetic parquet of OpenHA's schema trains: imported, then fine-tuned on by a recipe."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from crossagent.cli import main
from crossagent.demonstrations import DataError
from crossagent.pipeline import run_recipe
from crossagent_openha import prompts

RECIPE = """
environment: {name: craftworld}
spaces: {text_action: {}, motion_coa: {}, grounding_coa: {}}
stages: [sft]
policy: {model: scratch-0.1m}
prompt: {style: compact, history: 2, fragments: headers}
rollout: {workers: 1, worlds_per_worker: 4, max_new_tokens: 48}
sft: {epochs: 4, batch_size: 16, lr: 4e-3}
evaluation: {episodes: 1, suites: {id: {tasks: ["mine_block:dirt"]}}, single_spaces_after: [], experts: false}
tracking: {mlflow: false}
"""
ANSWERS = {
    "mine dirt": "Action: click(left)",
    "mine oak log": "Grounding: Mine <|object_ref_start|>oak log<|object_ref_end|><|point_start|>({x},480)<|point_end|> \n, Action: click(left)",
    "kill a cow": "Motion: move forward, sprint \n, Action: press(w, left.control)",
}


def parquet(path: Path, rows: int) -> Path:
    """Write rows as OpenHA's data sets have them: two turns each, a picture per turn."""
    draw = random.Random(0)
    buffer = io.BytesIO()
    Image.new("RGB", (64, 36), (90, 120, 60)).save(buffer, "JPEG")
    made = []
    for number in range(rows):
        words = draw.choice(list(ANSWERS))
        messages = []
        for turn in range(2):
            text = {"type": "text", "text": f"{prompts.MARK}\n{words}" if turn == 0 else ""}
            messages.append({"role": "user", "content": [text, {"type": "image", "text": None}]})
            said = ANSWERS[words].format(x=draw.randrange(1000))
            messages.append({"role": "assistant", "content": [{"type": "text", "text": said}]})
        made.append({"id": f"row-{number}", "conversations": messages, "image": [buffer.getvalue()] * 2})
    content = pa.list_(pa.struct({"type": pa.string(), "text": pa.string()}))
    conversations = pa.list_(pa.struct({"role": pa.string(), "content": content}))
    schema = pa.schema({"conversations": conversations, "image": pa.list_(pa.binary()), "id": pa.string()})
    pq.write_table(pa.Table.from_pylist(made, schema=schema), path)
    return path


def test_a_synthetic_data_set_is_imported_and_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, demonstrations = parquet(tmp_path / "openha.parquet", 64), tmp_path / "demonstrations.parquet"
    words = [
        "openha",
        "import",
        str(source),
        "--out",
        str(demonstrations),
        "--spaces",
        "text_action,motion_coa,grounding_coa",
    ]
    assert main(words) == 0
    assert "64 of 64 rows, 128 turns" in capsys.readouterr().out
    (tmp_path / "openha.yaml").write_text(RECIPE)
    changes = [f"demonstrations.file={demonstrations}", f"runs_dir={tmp_path / 'runs'}"]
    with pytest.raises(
        DataError, match=r"has demonstrations in 'motion_coa', which is no space of the recipe\. Fix: add"
    ):
        run_recipe(tmp_path / "openha.yaml", [*changes, "spaces.motion_coa=null", "run_name=refused"])
    summary = run_recipe(tmp_path / "openha.yaml", changes)
    assert "sft" in json.dumps(summary)
    metrics = [json.loads(line) for line in next(tmp_path.glob("runs/*/sft/metrics.jsonl")).read_text().splitlines()]
    assert len(metrics) >= 16
    assert metrics[-1]["sft/loss"] < 0.35 * metrics[0]["sft/loss"]
