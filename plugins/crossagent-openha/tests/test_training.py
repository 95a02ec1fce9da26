"""A synthetic parquet of OpenHA's schema trains: imported, then fine-tuned on by a recipe."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from statistics import mean

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from crossagent.cli import main
from crossagent.demonstrations import DataError
from crossagent.pipeline.recipe_run import run_recipe
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


TINY_VISION = {
    "model_type": "qwen2_vl",
    "text_config": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 1024, "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e6},
    },
    "vision_config": {
        "depth": 1, "num_heads": 2, "patch_size": 14, "spatial_merge_size": 2, "embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2,
    },
}  # fmt: skip
"""A config.json of the released model's family, of some 100k parameters."""


def jpeg(red: int, green: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (56, 56), (red, green, 60)).save(buffer, "JPEG")
    return buffer.getvalue()


def parquet(path: Path, rows: list[tuple[str, list[tuple[bytes, str]]]]) -> Path:
    """Write rows as OpenHA's data sets have them: an instruction, then a picture and an answer per turn."""
    made = []
    for number, (instruction, turns) in enumerate(rows):
        messages = []
        for turn, (_, said) in enumerate(turns):
            text = {"type": "text", "text": f"{prompts.MARK}\n{instruction}" if turn == 0 else ""}
            messages.append({"role": "user", "content": [text, {"type": "image", "text": None}]})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": said}]})
        made.append({"id": f"row-{number}", "conversations": messages, "image": [image for image, _ in turns]})
    content = pa.list_(pa.struct({"type": pa.string(), "text": pa.string()}))
    conversations = pa.list_(pa.struct({"role": pa.string(), "content": content}))
    schema = pa.schema({"conversations": conversations, "image": pa.list_(pa.binary()), "id": pa.string()})
    pq.write_table(pa.Table.from_pylist(made, schema=schema), path)
    return path


def losses(run: Path) -> list[float]:
    lines = (run / "sft/metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["sft/loss"] for line in lines]


def test_a_synthetic_data_set_is_imported_and_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw, rows = random.Random(0), []
    for _ in range(64):
        words = draw.choice(list(ANSWERS))
        rows.append((words, [(jpeg(90, 120), ANSWERS[words].format(x=draw.randrange(1000))) for _ in range(2)]))
    source, demonstrations = parquet(tmp_path / "openha.parquet", rows), tmp_path / "demonstrations.parquet"
    spaces = ["--spaces", "text_action,motion_coa,grounding_coa"]
    assert main(["openha", "import", str(source), "--out", str(demonstrations), *spaces]) == 0
    assert "64 of 64 rows, 128 turns" in capsys.readouterr().out
    (tmp_path / "openha.yaml").write_text(RECIPE)
    changes = [f"demonstrations.file={demonstrations}", f"runs_dir={tmp_path / 'runs'}"]
    with pytest.raises(DataError, match="has demonstrations in 'motion_coa', which is no space of the recipe"):
        run_recipe(tmp_path / "openha.yaml", [*changes, "spaces.motion_coa=null", "run_name=refused"])
    run_recipe(tmp_path / "openha.yaml", changes)
    found = losses(tmp_path / "runs/openha")
    assert len(found) >= 16
    assert found[-1] < 0.35 * found[0]


@pytest.mark.slow
def test_a_model_that_sees_learns_what_only_the_pictures_tell(tmp_path: Path) -> None:
    """Red: dig; green: walk. Who cannot see is wrong half of the time: ln 2 per answer, at the token in which they differ."""
    draw, rows = random.Random(1), []
    for _ in range(256):
        if draw.random() < 0.5:
            rows.append(("go on", [(jpeg(draw.randrange(160, 256), draw.randrange(60)), "Action: click(left)")]))
        else:
            rows.append(("go on", [(jpeg(draw.randrange(60), draw.randrange(160, 256)), "Action: press(w)")]))
    source, demonstrations = parquet(tmp_path / "openha.parquet", rows), tmp_path / "demonstrations.parquet"
    assert main(["openha", "import", str(source), "--out", str(demonstrations)]) == 0
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(TINY_VISION))
    (tmp_path / "openha.yaml").write_text(RECIPE)
    changes = [
        f"demonstrations.file={demonstrations}",
        f"runs_dir={tmp_path / 'runs'}",
        f"policy.model={tmp_path / 'model'}",
        "spaces.motion_coa=null",
        "spaces.grounding_coa=null",
        "sft.epochs=8",
    ]
    run_recipe(tmp_path / "openha.yaml", changes)
    run_recipe(tmp_path / "openha.yaml", [*changes, "prompt.pictures=false", "run_name=blind"])
    seeing, blind = (mean(losses(tmp_path / "runs" / name)[-10:]) for name in ("openha", "blind"))
    assert seeing < 0.3 * blind
