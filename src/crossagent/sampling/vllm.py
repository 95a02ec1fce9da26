"""Sampling in vLLM: a process of its own, under an interpreter that has vLLM, fed through a pipe (:mod:`crossagent.envs.bridge`).

Token ids go in and come out, with log-probs of softmax(logits / temperature). Before it samples, the process is given the
weights as they are: they are written as safetensors, LoRA merged in, and read from there. One process serves all policies of a
shape, one after the other, so that a run starts it once.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossagent.envs.bridge import Bridge, BridgeFailed
from crossagent.errors import CrossAgentError, MissingExtraError
from crossagent.plugin import Sample, SampleRequest, SamplingParams
from crossagent.policy.config import VllmOptions
from crossagent.policy.model import Policy
from crossagent.sampling import vllm_server
from crossagent.sampling.base import BatchedSampler
from crossagent.sampling.fast import fingerprint

_WRITTEN = ("architectures", "transformers_version", "dtype", "_name_or_path")
"""Of a model's configuration, what writing it down changes; its architecture follows from ``model_type``."""
_ASK = "import importlib.util as u, sys; sys.exit(u.find_spec('vllm') is None)"


@dataclass
class _Server:
    """A vLLM process, and whose weights it has."""

    bridge: Bridge
    folder: tempfile.TemporaryDirectory[str]
    holds: Any = None

    def close(self) -> None:
        self.bridge.close()
        self.folder.cleanup()


_servers: dict[str, _Server] = {}
"""What was asked for → the process that runs. They end with this one."""


@atexit.register
def close_servers() -> None:
    """End every vLLM process."""
    while _servers:
        _servers.popitem()[1].close()


class VllmSampler(BatchedSampler):
    """Samples with vLLM's kernels and scheduling; keeps prefixes between turns until the weights change.

    Its batches are composed by vLLM, so the last bits of log-probs depend on who shares them, and a token now and then with
    them: runs are not repeated bit by bit. ``seed`` decides a row's draws.
    """

    def __init__(self, policy: Policy, batch_size: int = 256, **options: Any) -> None:
        """Sample from ``policy`` as it is at each call.

        Args:
            policy: The policy; a language model that vLLM knows.
            batch_size: Requests it is given at a time; it batches them itself.
            options: See :class:`crossagent.policy.config.VllmOptions`.

        Raises:
            RecipeError: An option is wrong.
        """
        self._options = VllmOptions.of(options)
        super().__init__(policy, batch_size)

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sample]:
        """See :meth:`BatchedSampler.sample`.

        Raises:
            MissingExtraError: The interpreter has no vLLM.
            CrossAgentError: The process failed; says how. The next call starts another one.
        """
        if any(request.grammar or request.images for request in requests):
            raise CrossAgentError(
                "rollout.sampler: vllm keeps to no grammar and is shown no pictures; expected name: fast"
            )
        try:
            return super().sample(requests, params)
        except BridgeFailed as error:
            for key in [key for key, server in _servers.items() if not server.bridge.alive]:
                _servers.pop(key).close()
            raise CrossAgentError(f"rollout.sampler: {error}") from error

    def _batch(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sample]:
        answer = self._server().bridge.call(
            "sample",
            self._options.timeout_s,
            rows=[[r.prompt_ids, r.forced_ids, r.seed % 2**63, r.watched_ids] for r in requests],
            temperature=params.temperature,
            limit=params.max_new_tokens,
            end=self.policy.eot_id,
        )
        return [
            self._finish(request, ids, logprobs, params.max_new_tokens - len(request.forced_ids), tuple(watched))
            for request, (ids, logprobs, watched) in zip(requests, answer["rows"], strict=True)
        ]

    def _server(self) -> _Server:
        """Return the process, with the weights of now."""
        options = self._options
        config = self.policy.backbone.config.to_dict()
        shape = {name: str(value) for name, value in config.items() if name not in _WRITTEN}
        key = json.dumps([options.python, options.engine, shape], sort_keys=True)
        server = _servers.get(key)
        if server is not None and server.holds == self._weights():
            return server
        folder = tempfile.TemporaryDirectory(prefix="crossagent-vllm-") if server is None else server.folder
        model = Path(folder.name) / "model"
        self.policy.export(model)
        if server is None:
            server = _servers[key] = _Server(self._start(model), folder)
            server.bridge.wait()
        else:
            server.bridge.call("load", options.start_s, directory=str(model))
        server.holds = self._weights()  # as they are after writing them, which touches some models
        return server

    def _weights(self) -> Any:
        return id(self.policy), fingerprint(self.policy)

    def _start(self, model: Path) -> Bridge:
        python = self._options.python or sys.executable
        try:
            lacking = subprocess.run([python, "-c", _ASK], capture_output=True, check=False).returncode != 0
        except OSError as error:
            raise CrossAgentError(f"rollout.sampler.options.python: {python!r} cannot be started: {error}") from error
        if lacking:
            raise MissingExtraError(
                f"rollout.sampler: {python} has no vLLM. Fix: pip install 'crossagent[vllm]', or, as it wants other versions than "
                "we do, install it into a virtual environment of its own and name that one's interpreter: "
                "rollout.sampler.options.python=/path/to/bin/python"
            )
        return Bridge(
            lambda fd: [python, vllm_server.__file__, str(fd), str(model), json.dumps(self._options.engine)],
            name="vLLM",
            hello=vllm_server.HELLO,
            protocol=vllm_server.PROTOCOL,
            environ={**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"},
            start_seconds=self._options.start_s,
        )
