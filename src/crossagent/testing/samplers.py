"""A sampler that says what it is told, to test the turn loop without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crossagent.plugin import Sample, SampleRequest, SamplingParams


class ScriptedSampler:
    """Answers from a script. Implements :class:`crossagent.plugin.Sampler`; needs no model and no torch.

    Args:
        script: Either responses in the order they are asked for, or a function of the request (which keeps results
            independent of the order of requests). A response is text, or token ids without the end-of-turn token.
        encode: Turns text into ids; needed when the script holds text.
        eot_id: The end-of-turn token, added to every response.
        logprob: Reported for every token that was not forced.
    """

    def __init__(
        self,
        script: Sequence[str | Sequence[int]] | Callable[[SampleRequest], str | Sequence[int]],
        *,
        eot_id: int,
        encode: Callable[[str], Sequence[int]] | None = None,
        logprob: float = -1.0,
    ) -> None:
        self._script, self._encode, self._eot_id, self._logprob = script, encode, eot_id, logprob
        self.requests: list[SampleRequest] = []
        """Every request so far, for assertions."""

    def _answer(self, request: SampleRequest) -> tuple[int, ...]:
        if callable(self._script):
            said = self._script(request)
        elif len(self.requests) <= len(self._script):
            said = self._script[len(self.requests) - 1]
        else:
            raise IndexError(f"ScriptedSampler: the script has {len(self._script)} responses, one more was asked for")
        if isinstance(said, str):
            if self._encode is None:
                raise TypeError("ScriptedSampler: a script of text needs encode=…")
            said = self._encode(said)
        return tuple(said)

    def sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Sample]:
        """Return the scripted responses; forced ids come first and are not repeated when the script has them too."""
        samples = []
        for request in requests:
            self.requests.append(request)
            forced = request.forced_ids
            ids = self._answer(request)
            ids = (*(ids if ids[: len(forced)] == forced else (*forced, *ids)), self._eot_id)
            cut = ids[: params.max_new_tokens]
            logprobs = tuple(0.0 if i < len(forced) else self._logprob for i in range(len(cut)))
            samples.append(Sample(cut, logprobs, "stop" if len(cut) == len(ids) else "length"))
        return samples
