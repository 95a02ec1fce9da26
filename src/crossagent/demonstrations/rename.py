"""Renaming as augmentation: the names in a demonstration are replaced, consistently, by other names.

A policy that was trained from scratch on a few hundred names learns to write the name that goes with a task, not to copy
the name that it reads. When the names of a demonstration are drawn anew, only copying predicts the action. What is
replaced are the words that names consist of (``oak`` and ``_fence`` of ``oak_fence``), one to one over a whole episode:
in the instruction, in every observation and in every action.

A word of the instruction's names is replaced only where the first observation or an action's text shows it too, for only
then can it be copied. That keeps ``_fence`` in a craft in a window, whose layout follows from this word and from nothing
else, and replaces it in ``Api: craft(oak_fence)``. Words of other names in view are replaced with probability ½.

No replaced name is ever one of ``refused``: the names of tasks that no stage may see.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from crossagent.demonstrations.collect import Demonstration
from crossagent.errors import RecipeError, lookup
from crossagent.seeding import derive, rng

SOURCES = ("words", "lexicon", "nonces")
_TRIES = 32
"""Draws for one demonstration before it is left as it is."""
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
Word = tuple[bool, str]
"""(whether it follows a ``_`` within its name, the word): ``oak_log`` is (False, oak) and (True, log)."""


@dataclass
class RenameConfig:
    """Renaming of demonstrations for supervised training; STRL and relabel replay the episodes as they were played."""

    share: float = 0.0
    """Share of the demonstrations whose names are replaced; 0: none."""
    source: str = "lexicon"
    """Where new words come from: ``words`` (of the demonstrations' own names), ``lexicon`` (of all names of the environment's
    vocabulary), ``nonces`` (made up of two or three syllables)."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise RecipeError(f"share: got {self.share}; expected 0 to 1")
        lookup(self.source, dict.fromkeys(SOURCES, True), "source value", RecipeError)


@dataclass
class RenameStats:
    """What renaming did, for the run's summary."""

    renamed: int = 0
    """Demonstrations whose names were replaced."""
    without_names: int = 0
    """Drawn for renaming, but they have no word that could be replaced."""
    refused: int = 0
    """Draws that were thrown away because they would have made a refused name."""
    kept: int = 0
    """Demonstrations left as they are because every draw made a refused name."""


@dataclass(frozen=True)
class Vocabulary:
    """The names that texts of an environment hold."""

    names: frozenset[str]
    pattern: re.Pattern[str] = field(repr=False)

    @classmethod
    def of(cls, names: Iterable[str]) -> Vocabulary:
        """Return the vocabulary of these identifiers; the words of a name are joined by ``_``."""
        known = frozenset(names)
        longest_first = sorted(known, key=lambda name: (-len(name), name))
        spelled = (re.escape(name).replace("_", "[_ ]") for name in longest_first)
        return cls(known, re.compile(rf"(?<![A-Za-z0-9_])(?:{'|'.join(spelled) or '(?!)'})(?![A-Za-z0-9_])"))

    def found(self, text: str) -> list[str]:
        """Return the names in a text, in order, written with ``_``."""
        return [match.group().replace(" ", "_") for match in self.pattern.finditer(text)]


def words_of(names: Iterable[str]) -> list[Word]:
    """Return the distinct words of names, in order."""
    return list(dict.fromkeys((place > 0, word) for name in names for place, word in enumerate(name.split("_"))))


def rename_demonstrations(
    demonstrations: Sequence[Demonstration],
    config: RenameConfig,
    vocabulary: Collection[str],
    refused: Collection[str],
    seed: int,
    stats: RenameStats | None = None,
) -> list[Demonstration]:
    """Return the demonstrations, a seeded share of them with other names; the order stays.

    Args:
        demonstrations: What was played; one that stands in the list twice is renamed by a draw of its own each time.
        config: How many, and where new words come from.
        vocabulary: The environment's names (``TaskSuite.names()``).
        refused: Names that no replacement may make: those of the tasks of evaluation suites that no stage may see.
        seed: The run's.
        stats: Counters to add to.
    """
    if not config.share or not demonstrations:
        return list(demonstrations)
    stats = stats if stats is not None else RenameStats()
    known, forbidden = Vocabulary.of(vocabulary), frozenset(refused)
    lexicon = _lexicon(demonstrations, known, config.source)
    chosen = set(rng(seed, "rename").sample(range(len(demonstrations)), round(config.share * len(demonstrations))))
    return [
        _renamed(demonstration, known, lexicon, forbidden, derive(seed, "rename", index), stats)
        if index in chosen
        else demonstration
        for index, demonstration in enumerate(demonstrations)
    ]


def _lexicon(demonstrations: Sequence[Demonstration], known: Vocabulary, source: str) -> dict[bool, list[str]] | None:
    """Return the words to draw from, first words and later ones apart; None for made-up words."""
    if source == "nonces":
        return None
    names: Iterable[str] = sorted(known.names)
    if source == "words":
        texts = (text for demonstration in demonstrations for text in _texts(demonstration))
        names = sorted({name for text in texts for name in known.found(text)})
    words = words_of(names)
    return {later: sorted(word for place, word in words if place is later) for later in (False, True)}


def _texts(demonstration: Demonstration) -> Iterable[str]:
    yield demonstration.instruction
    for turn in demonstration.turns:
        yield turn.observation
        yield turn.text


def _renamed(
    demonstration: Demonstration,
    known: Vocabulary,
    lexicon: dict[bool, list[str]] | None,
    refused: frozenset[str],
    seed: int,
    stats: RenameStats,
) -> Demonstration:
    draw = random.Random(seed)
    goal = words_of(known.found(demonstration.instruction))
    first = demonstration.turns[0].observation if demonstration.turns else ""
    copied = set(words_of(known.found(first)))
    copied |= set(words_of(name for turn in demonstration.turns for name in known.found(turn.text)))
    present = words_of(name for text in _texts(demonstration) for name in known.found(text))
    certain = [word for word in goal if word in copied]
    possible = [word for word in present if word not in goal]
    if not certain:
        stats.without_names += 1
        return demonstration
    for _ in range(_TRIES):
        changed = certain + [word for word in possible if draw.random() < 0.5]
        mapping = _mapping(changed, present, lexicon, draw)
        if mapping is None:
            break
        names = {name for text in _texts(demonstration) for name in known.found(text)}
        made = {_replaced(name, mapping) for name in names} - names
        if made & refused:
            stats.refused += 1
            continue
        stats.renamed += 1
        return _apply(demonstration, known, mapping)
    stats.kept += 1
    return demonstration


def _mapping(
    changed: Sequence[Word], present: Sequence[Word], lexicon: dict[bool, list[str]] | None, draw: random.Random
) -> dict[Word, str] | None:
    """Return a new word for each, one to one; None where the lexicon has too few.

    New words are none of those that the episode has, so that two names never become one.
    """
    mapping: dict[Word, str] = {}
    taken = {word for _, word in present}
    for word in changed:
        if lexicon is None:
            new = _nonce(draw)
            while new in taken:
                new = _nonce(draw)
        else:
            free = [entry for entry in lexicon[word[0]] if entry not in taken]
            if not free:
                return None
            new = draw.choice(free)
        taken.add(new)
        mapping[word] = new
    return mapping


def _nonce(draw: random.Random) -> str:
    return "".join(draw.choice(_CONSONANTS) + draw.choice(_VOWELS) for _ in range(draw.choice((2, 3))))


def _replaced(name: str, mapping: dict[Word, str]) -> str:
    """Return a name, written with ``_`` or with spaces, with its words replaced."""
    parts = re.split(r"([_ ])", name)
    words = [mapping.get((place > 0, part), part) for place, part in enumerate(parts[::2])]
    return "".join(text for pair in zip(words, [*parts[1::2], ""], strict=True) for text in pair)


def _apply(demonstration: Demonstration, known: Vocabulary, mapping: dict[Word, str]) -> Demonstration:
    def text(old: str) -> str:
        return known.pattern.sub(lambda match: _replaced(match.group(), mapping), old)

    def moved(old: str, at: int) -> int:
        """Return where the character ``at`` of a text is after replacing; within a name, where the name begins."""
        shift = 0
        for match in known.pattern.finditer(old):
            if match.end() > at:
                return min(at, match.start()) + shift
            shift += len(_replaced(match.group(), mapping)) - (match.end() - match.start())
        return at + shift

    turns = tuple(
        replace(
            turn,
            observation=text(turn.observation),
            text=text(turn.text),
            segments=tuple((name, moved(turn.text, at)) for name, at in turn.segments),
        )
        for turn in demonstration.turns
    )
    return replace(demonstration, instruction=text(demonstration.instruction), turns=turns)


def made_names(demonstrations: Iterable[Demonstration], vocabulary: Collection[str]) -> Counter[str]:
    """Return how often each name is in an instruction or an action: what the policy is taught to write."""
    known = Vocabulary.of(vocabulary)
    counts: Counter[str] = Counter()
    for demonstration in demonstrations:
        for text in (demonstration.instruction, *demonstration.texts):
            counts.update(known.found(text))
    return counts
