import re
from dataclasses import replace
from pathlib import Path

from test_sft import rows_of
from training_kit import WordSource, stage, tiny_policy

from crossagent.training.callbacks import read_metrics
from crossagent.training.config import GRPOConfig, SFTConfig
from crossagent.training.grpo import train_grpo
from crossagent.training.sft import train_sft

DOC = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_every_metric_is_documented(tmp_path: Path) -> None:
    documented = set()
    for line in DOC.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            documented |= set(re.findall(r"`([^`]+)`", line.split("|")[1] if "space/none" not in line else line))
    policy = tiny_policy()
    train_sft(policy, rows_of(policy), SFTConfig(batch_size=12), stage(tmp_path / "sft"))
    config = GRPOConfig(
        iterations=1, groups=4, group_size=4, kl_coef=0.1, evaluate_every=1, drop_all_fail=False, entropy_coef=0.01
    )
    train_grpo(policy, WordSource(policy), replace(config), stage(tmp_path / "rl", evaluate=lambda _: 0.5))
    emitted = set()
    for name in ("sft", "rl"):
        for row in read_metrics(tmp_path / name / "metrics.jsonl"):
            emitted |= {re.sub(r"^space/(?!none)[^/]+/", "space/<id>/", key) for key in row}
    emitted -= {"played"}  # the scripted source's own
    assert len(emitted) > 40
    assert emitted <= documented
    only_live = {n for n in documented if n.startswith("strl/") or n in LIVE}
    assert documented - emitted == only_live


LIVE = {
    "rollout/groups",
    "rollout/resampled",
    "rollout/retried",
    "fault/task",
    "fault/space",
    "fault/environment",
    "fault/infrastructure",
    "workers/restarts",
    "workers/memory_mb",
    "time/generate",
    "time/environment",
    "explore/trajectories",
    "explore/weight",
    "single/<id>/success",
}
"""What only a source with worlds, or an option, reports; see test_sources.py and test_exploration.py."""
