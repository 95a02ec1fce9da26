"""How tasks are told: the plain instruction of each category, and paraphrases of our own."""

from __future__ import annotations

import hashlib
import itertools

PLAIN = {
    "mine_block": "mine {0}", "craft_item": "craft {0}", "kill_entity": "kill {0}", "smelt_item": "smelt {0}",
    "interact_block": "use {0}",
}  # fmt: skip
PARAPHRASES: dict[str, tuple[str, ...]] = {
    "mine_block": (
        "break a {1}", "go and dig up one {1}", "there is a {1} near by: mine it", "please get rid of a {1} block",
        "find a {1} and break it with what you hold", "your job is to mine a single {1}",
    ),
    "craft_item": (
        "make a {1}", "craft one {1} from what you carry", "I need a {1}, please make it", "put together a {1}",
        "use your items to craft {1}", "turn what is in the inventory into a {1}",
    ),
    "kill_entity": (
        "hunt down a {1}", "slay the {1}", "there is a {1} around: kill it", "fight a {1} until it is dead",
        "get rid of one {1}", "attack the {1} and do not stop before it dies",
    ),
    "smelt_item": (
        "make {1} in the furnace", "smelt one {1}", "use the furnace and your coal to get {1}", "I need {1}: smelt it",
        "heat what you carry until it is {1}", "take a {1} out of the furnace",
    ),
    "interact_block": (
        "use the {1}", "right-click a {1}", "go to the {1} and use it", "open the {1}", "interact with a {1}",
        "walk over to the {1} and try it",
    ),
}  # fmt: skip
"""{1} is the name in plain words. The last two of each are not drawn by ``varied``: keep them for tests."""
_HELD_OUT = 2
PHRASINGS = ("plain", "varied", "held_out")


def instruction(category: str, goal: str, phrasing: str = "plain") -> str:
    """Return the instruction of a task: the plain one, or a paraphrase chosen by the task's name."""
    if phrasing == "plain":
        return PLAIN[category].format(goal)
    phrases = paraphrases(category, goal)
    phrases = phrases[:-_HELD_OUT] if phrasing == "varied" else phrases[-_HELD_OUT:]
    digest = hashlib.blake2b(f"{category}:{goal}".encode(), digest_size=8).digest()
    return phrases[int.from_bytes(digest, "little") % len(phrases)]


def paraphrases(category: str, goal: str) -> tuple[str, ...]:
    """Return all paraphrases of a task."""
    words = goal.replace("_", " ")
    return tuple(_article(phrase.format(goal, words)) for phrase in PARAPHRASES[category])


def _article(text: str) -> str:
    """Write ``an`` before a vowel."""
    words = text.split(" ")
    for i, (word, after) in enumerate(itertools.pairwise(words)):
        if word == "a" and after[:1] in "aeiou":
            words[i] = "an"
    return " ".join(words)
