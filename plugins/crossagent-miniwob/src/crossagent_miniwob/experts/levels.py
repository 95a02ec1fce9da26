"""The experts: the plan of the page, said in element calls, in gestures of the pointer, or in mouse movements and keys."""

from __future__ import annotations

from abc import ABC, abstractmethod

from crossagent.plugin import Call, Environment, ExpertStuck
from crossagent_miniwob.env import MiniWob
from crossagent_miniwob.experts.intents import Choose, Click, Drag, Enter, Intent, Page, Point, Press, Scroll
from crossagent_miniwob.experts.plans import PLANS
from crossagent_miniwob.keys import STROKES, TYPED
from crossagent_miniwob.page import SIZE, Element
from crossagent_miniwob.skills import words_of


class Level(ABC):
    """An expert of one interface."""

    interface: str

    def propose(self, env: Environment) -> list[Call]:
        """Return the calls of one decision; raises :class:`ExpertStuck`."""
        if not isinstance(env, MiniWob):
            raise ExpertStuck("this expert knows MiniWoB++ alone")
        name = env.task.setup["page"]
        if name not in PLANS:
            raise ExpertStuck(f"no plan for {name}")
        return self.say(env, page_of(env), self.intent(env))

    @staticmethod
    def intent(env: MiniWob) -> Intent:
        """Return what the plan wants next."""
        try:
            return PLANS[env.task.setup["page"]](page_of(env))
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ExpertStuck(f"the page is not what the plan expects ({type(error).__name__}: {error})") from error

    @abstractmethod
    def say(self, env: MiniWob, page: Page, intent: Intent) -> list[Call]:
        """Say an intent in calls of the interface."""


def page_of(env: MiniWob) -> Page:
    """Return what a plan looks at."""
    return Page(env.view, env.values, env.hand.cursor, env.hand.buttons)


class SkillsExpert(Level):
    """Calls elements by name."""

    interface = "skills"

    def say(self, env: MiniWob, page: Page, intent: Intent) -> list[Call]:
        """Return one call."""
        match intent:
            case Click(on=Element() as element):
                return [_skill("click", element.name)]
            case Enter(into=field, text=text):
                return [self._enter(env, page, field, text)]
            case Choose(of=listed, option=option):
                return [_skill("select", listed.name, option + 1)]
            case Drag(start=Element() as start, to=Element() as to):
                return [_skill("drag", start.name, to.name)]
            case Press(key=key):
                return [_skill("press", key)]
            case Scroll(at=element, notches=notches):
                most = element.scroll[1] if element.scroll else 0
                return [_skill("scroll", element.name, most if notches > 0 else 0)]
        raise ExpertStuck("no element call does it")

    @staticmethod
    def _enter(env: MiniWob, page: Page, field: Element, text: str) -> Call:
        if value := next((name for name, given in env.values.items() if given == text), None):
            return _skill("type", field.name, value)
        if text.isdigit() and len(text) <= 4 and str(int(text)) == text:
            return _skill("type_number", field.name, int(text))
        for e in page.view.elements:
            said = e.value if isinstance(e.value, str) else e.text
            if e.name != field.name and e.name not in env.values and said == text:
                return _skill("type", field.name, e.name)
        for e in page.view.elements:
            words = words_of(e)
            if e.name != field.name and text in words:
                return _skill("type_word", field.name, e.name, words.index(text) + 1)
        raise ExpertStuck(f"no element call types {text!r}")


class PointerExpert(Level):
    """Clicks, drags and taps keys."""

    interface = "pointer"

    def say(self, env: MiniWob, page: Page, intent: Intent) -> list[Call]:
        """Return the calls of one gesture."""
        match intent:
            case Click(on=on):
                return [*self._at(env, on, click=True)]
            case Enter(into=field) if not field.focus:
                return self._at(env, field, click=True)
            case Enter(into=field, text=text):
                return [Call("pointer", "press", (_next_stroke(field, text),))]
            case Choose(of=listed) if not listed.focus:
                return self._at(env, listed, click=True)
            case Choose(of=listed, option=option):
                at = listed.chosen[0] if listed.chosen else -1
                return [Call("pointer", "press", ("down" if at < option else "up",))]
            case Drag(start=start, to=to):
                return [
                    Call("pointer", "move_to", _pixel(start)),
                    Call("pointer", "drag", _pixel(to)),
                ]
            case Press(key=key):
                return [Call("pointer", "press", (key,))]
            case Scroll(at=element, notches=notches):
                return [Call("pointer", "move_to", element.rect.center), Call("pointer", "scroll", (notches,))]
        raise ExpertStuck("no gesture does it")

    @staticmethod
    def _at(env: MiniWob, on: Element | Point, click: bool) -> list[Call]:
        if isinstance(on, Element) and on.side:
            return [Call("pointer", "scroll", (1 if on.side == "below" else -1,))]
        return [Call("pointer", "move_to", _pixel(on)), Call("pointer", "click", ())]


class ControlExpert(Level):
    """Moves the mouse by steps, presses and lets go; one key at a time."""

    interface = "control"

    def say(self, env: MiniWob, page: Page, intent: Intent) -> list[Call]:
        """Return one tick, which an action may hold for longer."""
        held, keys = env.hand.buttons, env.hand.keys
        if isinstance(intent, Drag):
            return self._drag(env, intent, held)
        if held or not env.still:
            return [_step()]
        match intent:
            case Click(on=on):
                return self._click(env, on)
            case Enter(into=field) if not field.focus:
                return self._click(env, field)
            case Enter(into=field, text=text):
                return self._tap(STROKES[_next_stroke(field, text)].keys, keys)
            case Choose(of=listed) if not listed.focus:
                return self._click(env, listed)
            case Choose(of=listed, option=option):
                at = listed.chosen[0] if listed.chosen else -1
                return self._tap(("down" if at < option else "up",), keys)
            case Press(key=key):
                return self._tap(STROKES[key].keys, keys)
            case Scroll(at=element, notches=notches):
                way = self._way(env, element.rect.center)
                return [
                    _step((), ("wheel.down" if notches > 0 else "wheel.up",)) if way == (0, 0) else _step(camera=way)
                ]
        return [_step()]

    def _click(self, env: MiniWob, on: Element | Point) -> list[Call]:
        if isinstance(on, Element) and on.side:
            return [_step((), ("wheel.down" if on.side == "below" else "wheel.up",))]
        way = self._way(env, _pixel(on))
        there = all(abs(pixels) < env.camera_limit for pixels in way)
        return [_step((), ("left",) if there else (), way)]

    def _drag(self, env: MiniWob, intent: Drag, held: tuple[str, ...]) -> list[Call]:
        if "left" not in held:
            return self._click(env, intent.start)
        way = self._way(env, _pixel(intent.to))
        return [_step((), ("left",), way) if way != (0, 0) else _step()]

    @staticmethod
    def _way(env: MiniWob, to: Point) -> tuple[int, int]:
        """Return the next movement towards a pixel: nothing within half a quantum of it."""
        q, limit = env.camera_quantum, env.camera_limit
        way = []
        for goal, at, side in zip(to, env.hand.cursor, SIZE, strict=True):
            far = max(0, min(side - 1, goal)) - at
            way.append(max(-limit, min(limit, int(far / q) * q)))
        return way[0], way[1]

    @staticmethod
    def _tap(wanted: tuple[str, ...], held: tuple[str, ...]) -> list[Call]:
        return [_step() if set(wanted) & set(held) else _step(wanted)]


def _next_stroke(field: Element, text: str) -> str:
    """Return the key that brings a focused field nearer to a text."""
    value = field.value if isinstance(field.value, str) else ""
    caret = field.caret
    if field.kind in ("date", "time"):
        raise ExpertStuck(f"a {field.kind} field does not show what is typed so far")
    whole = caret == (0, len(value)) and bool(value)
    if field.kind == "number":  # it does not tell where its caret is
        whole = False
    if text.startswith(value) and not whole and (field.kind == "number" or caret == (len(value), len(value))):
        character = text[len(value)]
    elif whole or field.kind == "number":
        return "backspace"
    elif text.startswith(value):
        return "end"
    else:
        return "select_all"
    if character not in TYPED:
        raise ExpertStuck(f"no key types {character!r}")
    return TYPED[character]


def _pixel(on: Element | Point) -> Point:
    return on.rect.center if isinstance(on, Element) else on


def _skill(name: str, *args: str | int) -> Call:
    return Call("skills", "call", (name, *args))


def _step(keys: tuple[str, ...] = (), buttons: tuple[str, ...] = (), camera: tuple[int, int] = (0, 0)) -> Call:
    return Call("control", "step", (list(keys), list(buttons), list(camera)))
