"""Constrained decoding: which tokens may follow, so that every response is a text of its grammar.

A grammar is compiled once per tokenizer, by llguidance. Samplers ask a :class:`GrammarState` for the sets of tokens before each
draw and tell it what was drawn; the sets go with the response, so that log-probs are later taken over the same tokens.

The token limit must not cut an action in two. So where as many tokens are left as the longest of the shortest ways to an end
takes (*reserve*), a response is ended by the shortest way known from there: its tokens are then the only ones allowed. The
ways are found once, when the grammar is compiled, from the states that seeded walks through it come to; which way is taken
depends on the response alone. Only a response that nothing ends within the limit is still cut.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossagent.errors import CrossAgentError, MissingExtraError
from crossagent.plugin import SampleRequest
from crossagent.policy.token_sets import masked, members, token_set
from crossagent.policy.tokenizer import joint
from crossagent.sampling.token_grammar import GrammarTranslator
from crossagent.types import TokenSet

_WALKS, _STEPS = 32, 24
"""Walks through a grammar, and tokens of each, from whose states the ways to an end are found."""
_LONGEST = 16
"""Tokens of the longest way that is looked for."""
_BRANCHES, _STATES = 512, 64
"""In a search: tokens tried in a state, states kept per token."""
_NODES = 200_000
"""Beginnings of responses that are remembered with what may follow."""
_SETS = 20_000
"""Distinct sets that are remembered, so that equal ones are one object."""

Ids = tuple[int, ...]


class Grammars:
    """Compiled grammars over the tokens of one tokenizer; :func:`grammars_of` keeps one for each.

    Raises:
        MissingExtraError: llguidance is not installed.
        CrossAgentError: The tokenizer is none of the fast ones, whose tokens are known as bytes.
    """

    def __init__(self, tokenizer: Any, eot_id: int) -> None:
        try:
            import llguidance
            import llguidance.hf
        except ImportError as error:
            raise MissingExtraError(
                "rollout.constrained: needs the package llguidance, which is not installed. "
                "Fix: pip install 'crossagent[constrained]'"
            ) from error
        if not getattr(tokenizer, "is_fast", False):
            raise CrossAgentError(
                f"rollout.constrained: needs a fast tokenizer; {type(tokenizer).__name__} does not tell its tokens as bytes. "
                "Fix: rollout.constrained=false"
            )
        self.eot_id = eot_id
        self._tokens = llguidance.hf.from_tokenizer(tokenizer, eos_token=eot_id)
        added = {str(token): id_ for id_, token in tokenizer.added_tokens_decoder.items()}
        special = {token: id_ for token, id_ in added.items() if self._tokens.is_special_token(id_)}
        self._translator = GrammarTranslator(special, joint(tokenizer))
        self._lengths = np.array([len(self._tokens.decode_bytes([k])) for k in range(self._tokens.vocab_size)])
        threads = torch.get_num_threads()
        self._executor = llguidance.LLExecutor(num_threads=threads) if threads > 1 else None
        self._compiled: dict[str, Grammar] = {}
        self._sets: dict[TokenSet, TokenSet] = {}
        self._only: dict[int, TokenSet] = {}

    def compile(self, grammar: str) -> Grammar:
        """Return a grammar ready for use; each is compiled once.

        Raises:
            CrossAgentError: It cannot be compiled; says why.
        """
        if grammar not in self._compiled:
            from llguidance import LLMatcher

            notation = LLMatcher.grammar_from_lark(self._translator.translate(grammar))
            start = LLMatcher(self._tokens, notation, log_level=0)
            start.compute_bitmask()  # some errors, such as a grammar without any text, show here only
            if start.is_error():
                raise CrossAgentError(
                    f"the grammar of the spaces cannot be compiled: {_why(start)}. Fix: the grammar of that space, or "
                    "rollout.constrained=false"
                )
            self._compiled[grammar] = Grammar(start, self.eot_id, self._lengths)
        return self._compiled[grammar]

    def sets(self, matchers: Sequence[Any]) -> list[TokenSet]:
        """Return the tokens that may follow in each of these states."""
        if self._executor is None or len(matchers) < 2:
            found = [self._one_object(matcher.compute_bitmask()) for matcher in matchers]
        else:
            words = np.zeros((len(matchers), -(-self._tokens.vocab_size // 32)), dtype=np.int32)
            states = [(matcher, k) for k, matcher in enumerate(matchers)]
            self._executor.unsafe_compute_mask_ptr(states, words.ctypes.data, words.strides[0], len(matchers))
            found = [self._one_object(row.tobytes()) for row in words]
        end = self._one_object(self.only(self.eot_id))
        for matcher, tokens in zip(matchers, found, strict=True):
            if tokens is end and matcher.is_error():  # it would end every response here
                raise CrossAgentError(f"sampler: constrained decoding failed: {_why(matcher)}")
        return found

    def only(self, token: int) -> TokenSet:
        """Return the set of one token."""
        if token not in self._only:
            self._only[token] = token_set([token], -(-self._tokens.vocab_size // 32) * 32)
        return self._only[token]

    def _one_object(self, tokens: TokenSet) -> TokenSet:
        if len(self._sets) >= _SETS:
            self._sets.clear()
        return self._sets.setdefault(tokens, tokens)

    def walk(self, requests: Sequence[SampleRequest], limit: int) -> GrammarState | None:
        """Begin the responses of a batch, of at most ``limit`` tokens each; None where no request has a grammar."""
        return GrammarState(self, requests, limit) if any(request.grammar for request in requests) else None


@lru_cache(maxsize=4)
def _grammars(tokenizer: Any, eot_id: int, size: int) -> Grammars:
    return Grammars(tokenizer, eot_id)


def grammars_of(tokenizer: Any, eot_id: int) -> Grammars:
    """Return the grammars of a tokenizer, whose responses end with ``eot_id``."""
    return _grammars(tokenizer, eot_id, len(tokenizer))


class Grammar:
    """A compiled grammar, and the ways from its states to an end."""

    def __init__(self, start: Any, eot_id: int, lengths: np.ndarray) -> None:
        self.start, self._eot_id, self._lengths = start, eot_id, lengths
        self._ways: list[Ids] = []
        """The shortest first."""
        self._explore()
        self._root, self._nodes = _Node(), 0
        self.reserve = max(map(len, self._ways), default=0)
        """So many tokens, the end-of-turn token included, are enough to end a response wherever it stands."""

    def root(self) -> _Node:
        """Return where responses begin."""
        if self._nodes > _NODES:
            self._root, self._nodes = _Node(), 0
        return self._root

    def node(self, following: dict[int, _Node], token: int) -> _Node:
        """Add where a token leads."""
        self._nodes += 1
        following[token] = _Node()
        return following[token]

    def way(self, state: Any, most: int) -> Ids | None:
        """Return the shortest tokens known to end a response, the end-of-turn token last; None without any of ``most``."""
        for way in self._ways:
            if len(way) > most:
                break
            if state.validate_tokens(list(way)) == len(way):
                return way
        return self._search(state, most)

    def _explore(self) -> None:
        draw = random.Random(0)
        for _ in range(_WALKS):
            state = self.start.deep_copy()
            for _ in range(_STEPS):
                way = self.way(state, _LONGEST)
                if way is None:
                    break
                if way not in self._ways:
                    self._ways = sorted([*self._ways, way], key=lambda w: (len(w), w))
                open_ = [k for k in members(state.compute_bitmask()) if k != self._eot_id]
                if not open_:
                    break
                onwards = draw.random() < 0.5 and len(way) > 1
                state.consume_token(way[0] if onwards else draw.choice(open_))

    def _search(self, state: Any, most: int) -> Ids | None:
        """Look for a way breadth first; of states in which the same tokens may follow, one is looked at."""
        level: list[tuple[Any, Ids]] = [(state, ())]
        seen: set[TokenSet] = set()
        for _ in range(most):
            for at, way in level:
                if at.is_accepting():
                    return (*way, self._eot_id)
            following: list[tuple[Any, Ids]] = []
            for at, way in level:
                for token in self._branches(at):
                    after = at.deep_copy()
                    after.consume_token(token)
                    tokens = after.compute_bitmask()
                    if tokens not in seen and len(following) < _STATES:
                        seen.add(tokens)
                        following.append((after, (*way, token)))
            level = following
        return None

    def _branches(self, state: Any) -> list[int]:
        """Return tokens to try, long ones first: they finish words, short ones end names."""
        open_ = np.array(members(state.compute_bitmask()), dtype=np.int64)
        open_ = open_[np.argsort(-self._lengths[open_], kind="stable")]
        half = _BRANCHES // 2
        chosen = open_ if len(open_) <= _BRANCHES else np.concatenate([open_[:half], open_[-half:]])
        return [int(token) for token in chosen]


def _why(matcher: Any) -> str:
    """Return the error of a matcher without the dump of its state."""
    return str(matcher.get_error()).split("<state>")[0].strip()


class _Node:
    """A beginning of responses, and what may follow it. Most responses of a policy that knows its actions begin alike."""

    __slots__ = ("following", "tokens")

    def __init__(self) -> None:
        self.tokens: TokenSet = b""
        """Empty: not known yet."""
        self.following: dict[int, _Node] = {}


class _Row:
    """One response as far as it has come."""

    __slots__ = ("_state", "_untold", "allowed", "ending", "grammar", "left", "node")

    def __init__(self, grammar: Grammar, limit: int) -> None:
        self.grammar, self.left, self.node = grammar, limit, grammar.root()
        self._state: Any = None
        self._untold: list[int] = []
        """Tokens that the matcher has not been told of: it is asked only where no response has been before."""
        self.ending: list[int] = []
        """The tokens that end it, once it has come to that."""
        self.allowed: list[TokenSet] = []

    def state(self) -> Any:
        """Return the matcher, after all tokens so far."""
        if self._state is None:
            self._state = self.grammar.start.deep_copy()
        if self._untold and not self._state.consume_tokens(self._untold):
            raise CrossAgentError(f"sampler: constrained decoding failed: {_why(self._state)}")
        self._untold = []
        return self._state

    def go_on(self, token: int) -> None:
        """Take a token that may follow."""
        self._untold.append(token)
        following = self.node.following
        self.node = following.get(token) or self.grammar.node(following, token)

    def end_soon(self) -> None:
        """Find the way to an end, as few tokens are left."""
        if not self.ending:
            self.ending = list(self.grammar.way(self.state(), self.left) or ())


class GrammarState:
    """The responses of one batch under their grammars: what may follow, and what did."""

    def __init__(self, grammars: Grammars, requests: Sequence[SampleRequest], limit: int) -> None:
        """Begin, and take the forced tokens of each request.

        Raises:
            CrossAgentError: Forced tokens are not the beginning of a text of the grammar.
        """
        self._grammars = grammars
        self._rows = [_Row(grammars.compile(r.grammar), limit) if r.grammar else None for r in requests]
        for row, request in zip(self._rows, requests, strict=True):
            for token in request.forced_ids if row is not None else ():
                assert row is not None
                self._fill([row])
                if not row.node.tokens[token // 8] >> token % 8 & 1:
                    raise CrossAgentError(
                        f"sampler: the forced token {token} of {request.forced_ids} cannot stand there under the request's "
                        "grammar; the tokenizer writes the header with other bytes than its text. Fix: rollout.constrained=false"
                    )
                row.allowed.append(row.node.tokens)
                row.go_on(token)
                row.left -= 1

    def mask(self, logits: Tensor, rows: Iterable[int]) -> Tensor:
        """Return logits [row, vocab] with −∞ at what may not follow, and note what may.

        Args:
            logits: After the last token of each of ``rows``.
            rows: Requests, by index; those that have ended are left as they are.
        """
        asked = [row if (row := self._rows[k]) is not None and row.left > 0 else None for k in rows]
        for row in asked:
            if row is not None and row.left <= row.grammar.reserve:
                row.end_soon()
        self._fill([row for row in asked if row is not None and not row.node.tokens and not row.ending])
        sets = []
        for row in asked:
            if row is None:
                sets.append(b"")
                continue
            tokens = self._grammars.only(row.ending.pop(0)) if row.ending else row.node.tokens
            row.allowed.append(tokens)
            sets.append(tokens)
        return masked(logits, sets)

    def take(self, rows: Iterable[int], tokens: Sequence[int]) -> None:
        """Go on with the tokens that were drawn, one for each of ``rows``."""
        end = self._grammars.eot_id
        for k, token in zip(rows, tokens, strict=True):
            row = self._rows[k]
            if row is None or row.left <= 0:
                continue
            row.left = 0 if token == end else row.left - 1
            if token != end and not row.ending:
                row.go_on(token)

    def _fill(self, rows: Sequence[_Row]) -> None:
        """Find what may follow in these."""
        unknown = {id(row.node): row for row in rows if not row.node.tokens}.values()
        for row, tokens in zip(unknown, self._grammars.sets([row.state() for row in unknown]), strict=True):
            row.node.tokens = tokens

    def allowed(self, row: int) -> tuple[TokenSet, ...]:
        """Return what could be drawn at each place of a response so far, forced ones included; () without a grammar."""
        found = self._rows[row]
        return () if found is None else tuple(found.allowed)


def allowed_tokens(
    tokenizer: Any, eot_id: int, grammar: str, response_ids: Sequence[int], max_new_tokens: int, forced: int = 0
) -> tuple[TokenSet, ...]:
    """Return what could be drawn at each place of a response that was sampled under a grammar, as the sampler said it.

    Args:
        tokenizer: The policy's.
        eot_id: The token that ends a response.
        grammar: Of the request.
        response_ids: What was sampled, forced tokens included.
        max_new_tokens: The limit it was sampled under, on which depends when it had to be ended.
        forced: How many leading tokens were given.

    Raises:
        CrossAgentError: The response is none of the grammar's.
    """
    request = SampleRequest((), 0, tuple(response_ids[:forced]), grammar=grammar)
    walk = GrammarState(grammars_of(tokenizer, eot_id), [request], max_new_tokens)
    logits = torch.zeros(1, len(tokenizer))
    for place, token in enumerate(response_ids[forced:], forced):
        walk.mask(logits, [0])
        if token not in members(walk.allowed(0)[-1]):
            raise CrossAgentError(
                f"token {token} at place {place} of the response cannot stand there under its grammar"
            )
        walk.take([0], [token])
    return walk.allowed(0)
