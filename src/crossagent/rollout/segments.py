"""Where the parts of a response begin, in tokens. Found on the ids as they were sampled; nothing is tokenized again."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def token_segments(
    response_ids: Sequence[int],
    text: str,
    segments: Sequence[tuple[str, int]],
    decode: Callable[[Sequence[int]], str],
) -> tuple[tuple[str, int], ...]:
    """Return (name, first token) of each part; a token across a border belongs to the later part.

    Args:
        response_ids: As sampled.
        text: Their decoding.
        segments: (name, first character) in order, the first at 0.
        decode: Ids → text.

    Returns:
        In order; a part that got no token, because the response was cut before it, is left out.
    """
    found: list[tuple[str, int]] = []
    token = 0
    for name, start in segments:
        while token < len(response_ids):
            if _alike(decode(response_ids[: token + 1]), text) > start:
                break
            token += 1
        if token < len(response_ids):
            found.append((name, token))
    return tuple(found)


def _alike(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their start: half a character decodes to another one."""
    return next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
