"""From task, spaces and history to prompt ids, and from action text to response ids. Token in, token out.

A prompt is put together from pieces that are tokenized one by one: fixed texts, what is said of the spaces, the
instruction, observations. Responses come in as the ids that were sampled and are never tokenized again, so that with the
whole history each prompt extends the one before exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crossagent.policy.chat_template import COMPACT_TASK, chat_segments, compact_segments
from crossagent.policy.config import PromptConfig
from crossagent.spaces.base import union

if TYPE_CHECKING:
    from crossagent.policy.images import Pictures

_TASK = "You act in a world, one action per turn."
_CACHE = 50_000
"""Texts whose ids are remembered; observations repeat a lot within a group."""


class PromptFormat:
    """How one run writes its prompts.

    Args:
        tokenizer: The policy's.
        config: Style, history, fragments.
        fragments: Space → what the system text says about it.
        headers: Space → the first characters of its responses.
        grammars: Space → its grammar, where responses must keep to it; None: they may be anything.
        pictures: The policy's, which then sees the pictures of observations before their text; None: text alone.
    """

    def __init__(
        self,
        tokenizer: Any,
        config: PromptConfig,
        fragments: Mapping[str, str],
        headers: Mapping[str, str],
        grammars: Mapping[str, str] | None = None,
        *,
        pictures: Pictures | None = None,
    ) -> None:
        """Cut the template and tokenize what never changes."""
        self.pictures = pictures if config.pictures else None
        self.tokenizer = tokenizer
        self.config = config
        self.fragments = dict(fragments)
        self.headers = dict(headers)
        self._grammars = None if grammars is None else dict(grammars)
        self._compact = config.style == "compact"
        segments = compact_segments(tokenizer) if self._compact else chat_segments(tokenizer)
        self._cache: dict[tuple[str, bool], tuple[int, ...]] = {}
        self._start = self._ids(segments.start)
        self._after_system = self._ids(segments.after_system)
        self._reply = self._ids(segments.reply)
        self._after_reply = self._ids(segments.after_reply)
        self._eot_id = int(tokenizer.convert_tokens_to_ids(segments.end))
        self._forced = {space: self._ids(header) for space, header in self.headers.items()}
        self._systems: dict[tuple[str, ...], tuple[int, ...]] = {}

    def prompt_ids(
        self,
        instruction: str,
        spaces: Sequence[str],
        history: Sequence[tuple[str, tuple[int, ...]]],
        observation: str,
        images: Sequence[bytes] = (),
    ) -> tuple[int, ...]:
        """Return the ids a response continues.

        Args:
            instruction: The task's.
            spaces: The only spaces the prompt lists, in this order.
            history: All past turns of the episode, oldest first: (observation, response ids as sampled). The config
                says how many are shown.
            observation: What the policy sees now.
            images: PNG bytes of the picture of each past turn and of now, b"" where there is none; () no picture at all.
                Those that the ids hold places for are :meth:`shown`.
        """
        ids = [*self._start, *self._system(tuple(spaces)), *self._instruction(instruction), *self._after_system]
        shown = history if self.config.history < 0 else history[len(history) - min(self.config.history, len(history)) :]
        seen = [b""] * (len(shown) + 1 - len(images)) + list(images)[-len(shown) - 1 :]
        for (past, response), image in zip(shown, seen, strict=False):
            ids += self._picture(image)
            ids += self._ids(past, trusted=False)
            ids += self._reply
            ids += response
            ids += self._after_reply
        ids += self._picture(seen[-1])
        ids += self._ids(observation, trusted=False)
        ids += self._reply
        return tuple(ids)

    def shown(self, images: Sequence[bytes]) -> tuple[bytes, ...]:
        """Return those of ``images`` that a prompt with them shows, in its order; ``images`` as in :meth:`prompt_ids`."""
        if self.pictures is None:
            return ()
        count = len(images) if self.config.history < 0 else min(len(images), self.config.history + 1)
        return tuple(image for image in images[len(images) - count :] if image)

    def _picture(self, image: bytes) -> tuple[int, ...]:
        return self.pictures.tokens(image) if image and self.pictures is not None else ()

    def response_ids(self, text: str, space: str) -> tuple[int, ...]:
        """Return the ids of an action's text: header, rest, end of turn.

        Raises:
            ValueError: The text does not start with the space's header.
        """
        header = self.headers[space]
        if not text.startswith(header):
            raise ValueError(f"space {space!r}: the response {text!r} does not start with its header {header!r}")
        return (*self._forced[space], *self._ids(text[len(header) :]), self._eot_id)

    def forced_ids(self, space: str) -> tuple[int, ...]:
        """Return the ids of a space's header, for ``SampleRequest.forced_ids``."""
        return self._forced[space]

    def grammar(self, spaces: Sequence[str]) -> str:
        """Return what a response may be where the prompt lists these spaces, for ``SampleRequest.grammar``."""
        return "" if self._grammars is None else union({space: self._grammars[space] for space in spaces})

    def decode(self, response_ids: Sequence[int]) -> str:
        """Return the text of a response without its end-of-turn token; any other special token stays visible."""
        ids = list(response_ids)
        if ids and ids[-1] == self._eot_id:
            ids.pop()
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _system(self, spaces: tuple[str, ...]) -> tuple[int, ...]:
        if spaces not in self._systems:
            self._systems[spaces] = self._ids(self.system_text(spaces))
        return self._systems[spaces]

    def system_text(self, spaces: Sequence[str]) -> str:
        """Return what the prompt says about these spaces, before the instruction."""
        if self.config.fragments == "headers":
            headers = " ".join(self.headers[space] for space in spaces)
            return headers if self._compact else f"{_TASK} Start each answer with one of: {headers}\n\n"
        full = "\n".join(self.fragments[space].strip() for space in spaces)
        return full if self._compact else f"{_TASK} Answer with one action and nothing else.\n\n{full}\n\n"

    def _instruction(self, instruction: str) -> tuple[int, ...]:
        if self._compact:
            return (*self._ids(COMPACT_TASK), *self._ids(instruction, trusted=False))
        return (*self._ids("Task: "), *self._ids(instruction, trusted=False))

    def _ids(self, text: str, trusted: bool = True) -> tuple[int, ...]:
        """Tokenize a piece. In text that comes from a world, what looks like a special token is only text."""
        key = (text, trusted)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= _CACHE:
                self._cache.clear()
            ids = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not trusted)
            found = self._cache[key] = tuple(ids)
        return found
