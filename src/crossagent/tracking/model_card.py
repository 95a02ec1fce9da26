"""The model card of a run's final model: what it is, how it was trained, how well it does, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def model_card(run_name: str, recipe: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """Return ``README.md`` as Hugging Face expects it.

    Args:
        run_name: Of the run.
        recipe: The composed recipe.
        summary: Content of ``summary.json``.
    """
    last = summary["stages"][-1]
    spaces = ", ".join(f"`{name}` (λ {space['weight']:g})" for name, space in recipe["spaces"].items())
    rows = [
        f"| {suite} | {kind} | {100 * cell['success']:.1f} % | {100 * cell['ci95'][0]:.0f}–{100 * cell['ci95'][1]:.0f} "
        f"| {cell['return']:.3f} | {cell['episodes']} | {cell['turns']:.1f} | {cell['cost']:.2f} |"
        for suite, kinds in last["eval"].items()
        for kind, cell in kinds.items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    model = recipe["policy"]["model"]
    base = "" if model.startswith("scratch-") else f"base_model: {json.dumps(model)}\n"
    stages = " → ".join(stage["stage"] for stage in summary["stages"])
    return f"""---
library_name: transformers
pipeline_tag: text-generation
{base}tags: [crossagent, agent, reinforcement-learning]
---

# {run_name}

An agent that decides, turn by turn, at which level to act. Made by crossagent from the recipe with SHA-256
`{summary["recipe_sha256"]}`.

- environment: `{recipe["environment"]["name"]}`
- action spaces: {spaces}
- policy: `{recipe["policy"]["model"]}`, seed {recipe["seed"]}
- stages: {stages}

It answers prompts in the format that crossagent writes; on other text its output means nothing.

## Evaluation after {last["stage"]}

Success with its 95 % interval (Wilson); J is success − Σ λ·cost, per episode.

| suite | agent | success | 95 % | J | episodes | turns | cost |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
```

Versions: {versions}.
"""
