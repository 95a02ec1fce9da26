"""vLLM behind JSON lines, for :mod:`crossagent.sampling.vllm`, which starts it and is its only client.

    python vllm_server.py FD MODEL_DIRECTORY OPTIONS

Run as a file, by whichever interpreter has vLLM: it pins other versions than we do, so it mostly lives in a virtual environment
of its own. Nothing of crossagent is imported. FD is one end of a socket pair; no port is opened. Commands:

    {"cmd": "load", "directory": D}     take the weights of D (safetensors), forget all kept prefixes
    {"cmd": "sample", "rows": [[prompt ids, forced ids, seed, watched ids], …], "temperature": t, "limit": n, "end": id}
        → {"rows": [[ids, log-probs, watched log-probs], …]}, ids without the forced ones
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

HELLO, PROTOCOL = "vllm", 1


class Engine:
    """A model in vLLM, which takes token ids and gives token ids."""

    def __init__(self, directory: str, options: dict[str, Any]) -> None:
        from vllm import LLM

        self.llm = LLM(
            model=directory,
            skip_tokenizer_init=True,
            enable_prefix_caching=True,
            generation_config="vllm",  # what a checkpoint recommends (top-p, …) would be another policy
            logprobs_mode="processed_logprobs",  # of softmax(logits / temperature)
            **options,
        )

    def load(self, directory: str) -> dict[str, Any]:
        """Take other weights of the same model."""
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": directory})
        self.llm.reset_prefix_cache()
        return {}

    def sample(self, rows: list[list[Any]], temperature: float, limit: int, end: int) -> dict[str, Any]:
        """Continue each row, with a generator of its own."""
        from vllm import SamplingParams

        params = [
            SamplingParams(
                temperature=temperature,
                seed=seed,
                max_tokens=limit - len(forced),
                stop_token_ids=[end],
                ignore_eos=True,  # only ``end`` ends a response
                logprobs=len(watched),
                logprob_token_ids=watched or None,
                detokenize=False,
            )
            for _, forced, seed, watched in rows
        ]
        prompts: list[Any] = [{"prompt_token_ids": [*prompt, *forced]} for prompt, forced, _, _ in rows]
        answers = []
        for (*_, watched), output in zip(rows, self.llm.generate(prompts, params, use_tqdm=False), strict=True):
            said = output.outputs[0]
            ids = list(said.token_ids)
            logprobs = [place[token].logprob for token, place in zip(ids, said.logprobs, strict=True)]
            answers.append([ids, logprobs, [said.logprobs[0][token].logprob for token in watched]])
        return {"rows": answers}


def main(fd: int, directory: str, options: str) -> None:
    """Serve until the other end is closed."""
    with socket.socket(fileno=fd) as pipe, pipe.makefile("rwb") as lines:

        def say(answer: dict[str, Any]) -> None:
            lines.write(json.dumps(answer).encode() + b"\n")
            lines.flush()

        try:
            engine = Engine(directory, json.loads(options))
        except BaseException as error:
            say({"error": f"{type(error).__name__}: {error}"})
            raise
        commands: dict[str, Callable[..., dict[str, Any]]] = {"load": engine.load, "sample": engine.sample}
        say({"hello": HELLO, "protocol": PROTOCOL})
        for line in lines:
            asked = json.loads(line)
            number, command = asked.pop("id"), asked.pop("cmd")
            try:
                say({"id": number, **commands[command](**asked)})
            except Exception as error:
                say({"id": number, "error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    # The script's folder comes first where packages are looked for: its modules are named like some (kernels, for one).
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != os.path.dirname(os.path.abspath(__file__))]
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
