"""A real MLflow server, killed while a run trains and brought back: afterwards it has every point, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_server import Server, wait

ROOT = Path(__file__).parents[3]
RECIPE = """
environment: {name: toy}
spaces: {api: {weight: 0.02}, gui: {weight: 0.02}, control: {weight: 0.02}}
policy: {model: scratch-0.1m}
prompt: {style: compact, fragments: headers}
rollout: {workers: 1, worlds_per_worker: 8}
stages: [sft, mtrl]
demonstrations: {episodes: 120}
sft: {epochs: 40, batch_size: 16, lr: 4e-3}
mtrl: {iterations: 4, groups: 2, group_size: 2, filter_zero_variance: false, drop_all_fail: false}
evaluation: {episodes: 6, validation_episodes: 2, experts: false}
tracking: {system_metrics_s: 1}
"""


@pytest.fixture
def real_server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    server.directory.mkdir()
    server.start()
    yield server
    server.kill()


@pytest.mark.slow
def test_a_server_killed_in_the_middle_and_brought_back_misses_nothing(
    real_server: Server, tmp_path: Path, toy_plugin: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    sources = [toy_plugin, ROOT / "src", *sorted(ROOT.glob("plugins/*/src"))]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, sources)),
        "OMP_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": real_server.uri,
    }
    command = [sys.executable, "-m", "crossagent", "run", "tiny.yaml"]
    stderr = tmp_path / "stderr"
    with open(stderr, "wb") as file:
        run = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=file)
    try:
        wait(lambda: bool(real_server.rows("select * from metrics where key = 'sft/loss'")), 240, stderr.read_text)
        assert run.poll() is None, "the server is killed while the run trains"
        real_server.kill()
        arrived = real_server.rows("select count(*) from metrics where key = 'sft/loss'")[0][0]
        wait(lambda: "does not answer" in stderr.read_text(), 240, stderr.read_text)
        real_server.start()
        assert run.wait(300) == 0, stderr.read_text()
    finally:
        run.kill()
    again = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr  # complete: sends what the end of the run may have left

    directory = tmp_path / "runs/tiny"
    names = dict(real_server.rows("select run_uuid, name from runs"))
    assert sorted(names.values()) == ["tiny", "tiny/mtrl", "tiny/sft", "tiny/untrained"]
    assert {row[0] for row in real_server.rows("select status from runs")} == {"FINISHED"}
    found = Counter(
        (names[i], k, s, v) for i, k, s, v in real_server.rows("select run_uuid, key, step, value from metrics")
    )
    assert set(found.values()) == {1}, "each point once"
    expected = set()
    for stage in ("sft", "mtrl"):
        for line in (directory / stage / "metrics.jsonl").read_text().splitlines():
            row = json.loads(line)
            expected |= {(f"tiny/{stage}", key, row["step"], value) for key, value in row.items() if key != "step"}
    assert arrived < len([point for point in expected if point[1] == "sft/loss"]), "it was away while the stage trained"
    assert expected <= set(found)
    for step, stage in enumerate(json.loads((directory / "summary.json").read_text())["stages"]):
        for suite, kinds in stage["eval"].items():
            for kind, cell in kinds.items():
                assert ("tiny", f"eval/{suite}/{kind}/success", step, cell["success"]) in found
    system = sorted(point[2] for point in found if point[1] == "system/cpu_utilization_percentage")
    assert system == list(range(len(system)))
    assert stderr.read_text().count("does not answer") == 1
    assert not (directory / "tracking/rejected.jsonl").exists()
    stored = {path.name for path in (real_server.directory / "artifacts").rglob("*") if path.is_file()}
    assert {"recipe.yaml", "report.html", "summary.json", "model.safetensors", "README.md", "evaluation.json"} <= stored
    traces, spans = (real_server.rows(f"select count(*) from {table}")[0][0] for table in ("trace_info", "spans"))
    assert traces >= 4
    assert spans > 3 * traces
    assert real_server.rows("select count(*) from assessments")[0][0] == 2 * traces
