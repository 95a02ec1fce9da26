"""Decoding, for every installed space: any text at all is an action or has a reason."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent.plugin import ActionSpace, InvalidAction
from crossagent.registry import load_plugins

PLUGINS = load_plugins()
assert len(PLUGINS.spaces) > 3
WORDS = "ab_(), 019clickdragpresovn.-"


@cache
def space(name: str) -> ActionSpace:
    return PLUGINS.build_space(name)


@pytest.mark.parametrize("name", sorted(PLUGINS.spaces))
@given(text=st.text(), written=st.text(WORDS), blank=st.sampled_from(["", " "]))
def test_decode_never_raises_and_always_has_a_reason(name: str, text: str, written: str, blank: str) -> None:
    tokenizer = space(name).tokenizer
    for candidate in (text, space(name).header + blank + written, space(name).header + text):
        result = tokenizer.decode(candidate)
        if isinstance(result, InvalidAction):
            assert result.reason
            assert 0 <= result.span[0] <= result.span[1] <= len(candidate)
        else:
            assert tokenizer.decode(tokenizer.encode(result)) == result
