"""What to do next on a page, from what can be seen on it: a function per page. Stateless: the page shows how far it is."""

from __future__ import annotations

import re
from collections.abc import Callable

from crossagent.plugin import ExpertStuck
from crossagent_miniwob.experts.intents import Choose, Click, Drag, Enter, Intent, Page, Point, Scroll, Wait
from crossagent_miniwob.page import Element

Plan = Callable[[Page], Intent]
FIELDS = ("field", "password", "number", "area", "date", "time")
PLANS: dict[str, Plan] = {}


def plan(*pages: str) -> Callable[[Plan], Plan]:
    """Register a plan for pages."""

    def register(act: Plan) -> Plan:
        PLANS.update(dict.fromkeys(pages, act))
        return act

    return register


def need(element: Element | None, what: str) -> Element:
    """Return an element, or give up with what is missing."""
    if element is None:
        raise ExpertStuck(f"no {what} on the page")
    return element


def button(page: Page, text: str) -> Click:
    """Click the button or link that says this."""
    return Click(need(page.said(text, "button", "link", "label"), f"button {text}"))


def submit(page: Page) -> Click:
    """Click what ends the form."""
    found = next(
        (e for e in page.all("button", "link") if e.text.lower() in ("submit", "login", "search", "ok", "go!", "go")),
        None,
    )
    return Click(need(found, "button to submit"))


def fill(page: Page, *wanted: tuple[Element, str]) -> Intent:
    """Fill fields one after another, then submit."""
    for field, text in wanted:
        if field.value != text:
            return Enter(field, text)
    return submit(page)


def colour(word: str) -> str:
    """Return a colour's name as elements are told with it; some have two."""
    return {"cyan": "aqua", "gray": "grey", "fuchsia": "magenta"}.get(word, word)


def ordinal(text: str) -> int:
    """Return the number of ``3`` or ``3rd``."""
    return int(re.match(r"\d+", text)[0])  # type: ignore[index]


# -- clicks --------------------------------------------------------------------------------------------------------
@plan("click-test")
def _only_button(page: Page) -> Intent:
    return Click(need(page.first("button"), "button"))


@plan("click-test-2", "click-test-transfer", "click-button", "unicode-test")
def _button_target(page: Page) -> Intent:
    return button(page, page.value("target"))


@plan("click-button-sequence")
def _sequence(page: Page) -> Intent:
    one = need(page.said("one", "button"), "button ONE")
    return button(page, "two") if one.focus else Click(one)


@plan("click-link")
def _link(page: Page) -> Intent:
    return Click(need(page.said(page.value("target"), "link", "text"), "link"))


@plan("click-color")
def _colour(page: Page) -> Intent:
    return Click(
        need(next((b for b in page.all("box") if b.colour == colour(page.value("target"))), None), "box of the colour")
    )


@plan("click-dialog")
def _close(page: Page) -> Intent:
    return button(page, "close")


@plan("click-dialog-2")
def _dialog(page: Page) -> Intent:
    target = page.value("target")
    return button(page, "close" if target == "x" else target)


@plan("click-widget")
def _widget(page: Page) -> Intent:
    kind = {"text": "field", "textarea": "area"}.get(page.value("target"), page.value("target"))
    return Click(need(page.first(kind), kind))


@plan("focus-text")
def _focus(page: Page) -> Intent:
    return Click(need(page.first("field"), "field"))


@plan("focus-text-2")
def _focus_nth(page: Page) -> Intent:
    return Click(page.all("field")[ordinal(page.value("target")) - 1])


@plan("click-tab")
def _tab(page: Page) -> Intent:
    return button(page, f"Tab #{page.value('target')}")


def _through(page: Page, steps: list[Element]) -> Intent:
    """Click a link that is named; else open the next of several parts."""
    found = page.said(page.value("target"), "link", "text")
    if found is not None and found not in steps:
        return Click(found)
    open_ = next((n for n, e in enumerate(steps) if e.marked or e.focus), -1)
    if open_ + 1 >= len(steps):
        open_ = -1
    return Click(need(steps[open_ + 1] if steps else None, "part to open"))


@plan("click-tab-2", "click-tab-2-easy", "click-tab-2-medium", "click-tab-2-hard")
def _tabs(page: Page) -> Intent:
    return _through(page, [e for e in page.all("link") if re.fullmatch(r"(Tab #)?\d", e.text)])


@plan("click-collapsible-2", "click-collapsible-2-nodelay")
def _sections(page: Page) -> Intent:
    return _through(page, page.all("heading"))


@plan("click-collapsible", "click-collapsible-nodelay")
def _section(page: Page) -> Intent:
    heading = need(page.first("heading"), "section")
    return submit(page) if heading.marked or heading.focus else Click(heading)


@plan("grid-coordinate")
def _grid(page: Page) -> Intent:
    x, y = int(page.value("x")), int(page.value("y"))
    circles = page.all("circle")
    columns = sorted({e.rect.center[0] for e in circles})
    rows = sorted({e.rect.center[1] for e in circles}, reverse=True)
    at = columns[x + len(columns) // 2], rows[y + len(rows) // 2]
    return Click(need(next((e for e in circles if e.rect.center == at), None), "circle there"))


@plan("phone-book")
def _phone_book(page: Page) -> Intent:
    heading = need(page.first("heading"), "contact")
    if heading.text.lower() == page.value("name").lower():
        label = need(page.said(f"{page.value('target').split()[0]}:"), page.value("target"))
        after = page.view.elements[page.view.elements.index(label) + 1 :]
        return Click(need(next((e for e in after if e.kind == "link"), None), "entry"))
    return Click(need(page.said(">", "link"), "next page"))


@plan("buy-ticket")
def _ticket(page: Page) -> Intent:
    target = page.value("target")
    tickets = []
    minutes = 0
    for e in page.view.elements:
        if found := re.fullmatch(r"(?:(\d+)h)? ?(?:(\d+)m)?", e.text):
            minutes = int(found[1] or 0) * 60 + int(found[2] or 0)
        elif found := re.search(r"\$(\d+)", e.text):
            tickets.append((int(found[1]), minutes, e))
    by_cost = "cost" in target or "cheap" in target or "price" in target or "expensive" in target
    order = [(cost if by_cost else length, n) for n, (cost, length, _) in enumerate(tickets)]
    most = "expensive" in target or "longest" in target or "latest" in target
    if not order:
        raise ExpertStuck("no ticket on the page")
    return Click(tickets[(max if most else min)(order)[1]][2])


@plan("navigate-tree")
def _tree(page: Page) -> Intent:
    found = page.said(page.value("target"), "link", "text")
    if found is not None:
        return Click(found)
    closed = [e for e in page.all("box") if e.label and "expandable" in e.label.lower()]
    return Click(need(next(iter(closed), None), "closed folder"))


@plan("generate-number")
def _generate(page: Page) -> Intent:
    shown = next((e.text for e in page.all("text") if re.fullmatch(r"-?\d+", e.text)), None)
    criterion = page.values
    wanted = shown is not None and _fits(int(shown), criterion)
    return submit(page) if wanted else button(page, "generate")


def _fits(number: int, values: dict[str, str]) -> bool:
    kind = values.get("criterion", "")
    if kind in ("even", "odd"):
        return (number % 2 == 0) == (kind == "even")
    other = next((int(v) for v in values.values() if re.fullmatch(r"-?\d+", v)), 0)
    return number < other if "less" in kind or "<" in kind else number > other


# -- shapes --------------------------------------------------------------------------------------------------------
def _shapes(page: Page) -> list[Element]:
    return [e for e in page.all("circle", "rect", "polygon", "text") if (e.colour and e.kind != "text") or _letter(e)]


def _letter(e: Element) -> bool:
    return e.kind == "text" and len(e.text) == 1 and bool(e.colour)


def _matches(e: Element, values: dict[str, str]) -> bool:
    for wanted in values.values():
        wanted = wanted.lower().rstrip("s") if len(wanted) > 1 else wanted
        if wanted in ("small", "large"):
            continue
        kinds = {"rectangle": "rect", "triangle": "polygon", "circle": "circle", "item": ""}
        if wanted in kinds:
            if kinds[wanted] and e.kind != kinds[wanted]:
                return False
        elif wanted in ("letter", "digit", "number", "shape"):
            if wanted == "shape" and e.kind == "text":
                return False
            if wanted == "letter" and not (e.kind == "text" and e.text.isalpha()):
                return False
            if wanted in ("digit", "number") and not (e.kind == "text" and e.text.isdigit()):
                return False
        elif len(wanted) == 1:
            if e.text != wanted:
                return False
        elif e.colour != colour(wanted):
            return False
    return True


def _of_size(shapes: list[Element], values: dict[str, str]) -> list[Element]:
    size = values.get("size")
    if size not in ("small", "large"):
        return shapes
    return [e for e in shapes if (max(e.size) > 14) == (size == "large")]


@plan("click-shape")
def _shape(page: Page) -> Intent:
    found = [e for e in _of_size(_shapes(page), page.values) if _matches(e, page.values)]
    return Click(need(next(iter(found), None), "such shape"))


@plan("count-shape")
def _count(page: Page) -> Intent:
    found = [e for e in _of_size(_shapes(page), page.values) if _matches(e, page.values)]
    return button(page, str(len(found)))


@plan("identify-shape")
def _identify(page: Page) -> Intent:
    shape = need(next(iter(_shapes(page)), None), "shape")
    named = {"circle": "circle", "rect": "rectangle", "polygon": "triangle"}.get(shape.kind)
    return button(page, named or ("number" if shape.text.isdigit() else "letter"))


# -- forms ---------------------------------------------------------------------------------------------------------
@plan("click-option")
def _option(page: Page) -> Intent:
    radio = need(page.said(page.value("target"), "radio"), "option")
    return submit(page) if radio.value else Click(radio)


@plan("click-checkboxes", "click-checkboxes-large", "click-checkboxes-transfer")
def _boxes(page: Page) -> Intent:
    wanted = {text.lower() for name, text in page.values.items() if name.startswith("target")}
    for box in page.all("checkbox"):
        if box.value is not (box.label.lower() in wanted):
            return Click(box)
    return submit(page)


@plan("choose-list")
def _list(page: Page) -> Intent:
    chosen = need(page.first("list"), "list")
    if chosen.value == page.value("target"):
        return submit(page)
    if page.value("target") not in chosen.options:
        raise ExpertStuck("no such option")
    return Choose(chosen, chosen.options.index(page.value("target")))


@plan("form-sequence-2")
def _sequence_2(page: Page) -> Intent:
    radio = page.all("radio")[ordinal(page.value("radio_target")) - 1]
    if not radio.value:
        return Click(radio)
    return fill(page, (page.all("field")[ordinal(page.value("textbox_target")) - 1], page.value("textbox_text")))


@plan("odd-or-even")
def _odd_or_even(page: Page) -> Intent:
    for number in page.all("text"):
        if not re.fullmatch(r"-?\d+", number.text):
            continue
        word = "odd" if int(number.text) % 2 else "even"
        near = [e for e in page.all("button") if e.text.lower() == word]
        beside = min(near, key=lambda e, y=number.rect.center[1]: abs(e.rect.center[1] - y))  # type: ignore[misc]
        if not beside.marked:
            return Click(beside)
    return submit(page)


@plan("use-spinner")
def _spinner(page: Page) -> Intent:
    field = need(page.first("field"), "field")
    far = int(page.value("target")) - int(str(field.value) or 0)
    if not far:
        return submit(page)
    up, down, *_ = (e for e in page.all("link") if e.rect.x > field.rect.x)
    return Click(up if far > 0 else down)


@plan("guess-number")
def _guess(page: Page) -> Intent:
    field = need(page.first("number", "field"), "field")
    guess = 4
    for e in page.view.elements:  # one hint is shown at a time, and tells the guess it is about
        if found := re.search(r"(lower|higher) than (\d)", e.text):
            guess = _NEXT_GUESS.get((int(found[2]), found[1]), guess)
    return fill(page, (field, str(guess)))


_NEXT_GUESS = {
    (4, "lower"): 1, (4, "higher"): 7, (1, "lower"): 0, (1, "higher"): 2, (2, "higher"): 3,
    (7, "lower"): 5, (7, "higher"): 8, (5, "higher"): 6, (8, "higher"): 9,
}  # fmt: skip


# -- text ----------------------------------------------------------------------------------------------------------
@plan("enter-text", "enter-text-dynamic")
def _text(page: Page) -> Intent:
    return fill(page, (need(page.first("field"), "field"), page.value("target")))


@plan("enter-text-2")
def _case(page: Page) -> Intent:
    text = page.value("text")
    return fill(
        page, (need(page.first("field"), "field"), text.upper() if page.value("case") == "upper" else text.lower())
    )


@plan("enter-password")
def _password(page: Page) -> Intent:
    return fill(page, *((field, page.value("target")) for field in page.all("password")))


@plan("login-user", "login-user-popup")
def _login(page: Page) -> Intent:
    later = next((e for e in page.all("button", "link") if e.text.lower() in ("cancel", "later", "no")), None)
    if page.first("field") is None and later is not None:
        return Click(later)
    return fill(
        page,
        (need(page.first("field"), "user name"), page.value("username")),
        (need(page.first("password"), "password"), page.value("password")),
    )


@plan("text-transform")
def _transform(page: Page) -> Intent:
    letters = sorted((e for e in page.all("text") if len(e.text) == 1), key=lambda e: e.rect.center[0])
    return fill(page, (need(page.first("field"), "field"), "".join(e.text for e in letters)))


@plan("simple-arithmetic")
def _arithmetic(page: Page) -> Intent:
    for e in page.view.elements:
        if found := re.search(r"(-?\d+) *([+\-x×*]) *(-?\d+) *=", e.text):
            a, b = int(found[1]), int(found[3])
            answer = a + b if found[2] == "+" else a - b if found[2] == "-" else a * b
            return fill(page, (need(page.first("field"), "field"), str(answer)))
    raise ExpertStuck("no problem on the page")


@plan("simple-algebra")
def _algebra(page: Page) -> Intent:
    for e in page.view.elements:
        if found := re.fullmatch(r"(x|-?\d+) *([+\-]) *(x|-?\d+) *= *(-?\d+)", e.text):
            a, sign, b, total = found[1], found[2], found[3], int(found[4])
            if a == "x":
                answer = total - int(b) if sign == "+" else total + int(b)
            else:
                answer = total - int(a) if sign == "+" else int(a) - total
            return fill(page, (need(page.first("field"), "field"), str(answer)))
    raise ExpertStuck("no equation on the page")


@plan("visual-addition")
def _addition(page: Page) -> Intent:
    blocks = [e for e in page.all("box") if e.label.startswith("addition")]
    return fill(page, (need(page.first("field", "number"), "field"), str(len(blocks))))


@plan("read-table")
def _table(page: Page) -> Intent:
    return fill(page, (need(page.first("field"), "field"), _beside(page, page.value("target"))))


@plan("read-table-2")
def _table_2(page: Page) -> Intent:
    labels = [e.text.rstrip(":") for e in page.all("label")]
    return fill(page, *((f, _beside(page, name)) for f, name in zip(page.all("field"), labels, strict=False)))


def _beside(page: Page, name: str) -> str:
    cells = page.all("cell")
    at = next((n for n, e in enumerate(cells) if e.text.rstrip(":").lower() == name.lower()), None)
    if at is None or at + 1 >= len(cells):
        raise ExpertStuck(f"no {name} in the table")
    return cells[at + 1].text


@plan("find-word")
def _word(page: Page) -> Intent:
    text = next((e.text for e in page.all("text") if " " in e.text), "")
    words = text.split()
    word = words[ordinal(page.value("target")) - 1]
    return fill(page, (need(page.first("field"), "field"), re.sub(r"[^\w-]+$", "", word)))


@plan("copy-paste")
def _copy(page: Page) -> Intent:
    return fill(page, (need(page.first("field"), "field"), str(need(page.first("area"), "text area").value)))


@plan("copy-paste-2")
def _copy_nth(page: Page) -> Intent:
    source = page.all("area")[ordinal(page.value("target")) - 1]
    return fill(page, (need(page.first("field"), "field"), str(source.value)))


@plan("scroll-text")
def _last_word(page: Page) -> Intent:
    words = str(need(page.first("area"), "text area").value).split()
    return fill(page, (need(page.first("field"), "field"), re.sub(r"[^\w-]+$", "", words[-1])))


@plan("multi-orderings", "multi-layouts")
def _search_form(page: Page) -> Intent:
    fields = page.all("field")
    said = [e for e in page.view.elements if e.kind not in ("field", "link", "button") and e.text]
    names = {"genre": "genre", "director": "director", "year": "year", "date": "year"}
    wanted: list[tuple[Element, str]] = []
    for e in said:
        name = next((names[word] for word in names if word in e.text.lower()), None)
        if name is None or "search" in e.text.lower():
            continue
        beside = [f for f in fields if abs(f.rect.center[1] - e.rect.center[1]) < 8]
        wanted.append((beside[0] if beside else fields[len(wanted)], page.value(name)))
    return fill(page, *wanted)


@plan("enter-date")
def _date(page: Page) -> Intent:
    field = need(page.first("date", "field"), "field")
    month, day, year = page.value("target").split("/")
    return submit(page) if field.value == f"{year}-{month}-{day}" else Enter(field, page.value("target"))


@plan("enter-time")
def _time(page: Page) -> Intent:
    field = need(page.first("time", "field"), "field")
    found = re.fullmatch(r"(\d+):(\d+) ?([AP]M)", page.value("target"))
    if found is None:
        raise ExpertStuck("no time in the instruction")
    hour = int(found[1]) % 12 + (12 if found[3] == "PM" else 0)
    return submit(page) if field.value == f"{hour:02}:{found[2]}" else Enter(field, page.value("target"))


@plan("search-engine")
def _search(page: Page) -> Intent:
    field = need(page.first("field"), "field")
    if field.value != page.value("query"):
        return Enter(field, page.value("query"))
    results = [e for e in page.all("link") if e.text and not re.fullmatch(r"[<>]|\d+", e.text)]
    rank = int(page.value("rank"))
    pages = [e for e in page.all("link") if re.fullmatch(r"\d+", e.text)]
    if not pages and not results:
        return button(page, "search")
    per_page = 3
    here = next((int(e.text) for e in pages if e.marked), 1)
    wanted = (rank - 1) // per_page + 1
    if wanted != here:
        return Click(need(next((e for e in pages if e.text == str(wanted)), page.said(">", "link")), "page"))
    return Click(results[(rank - 1) % per_page])


# -- drags ---------------------------------------------------------------------------------------------------------
@plan("drag-box")
def _drag_box(page: Page) -> Intent:
    small, large = need(page.said("s"), "small box"), need(page.said("l"), "large box")
    covered = large.rect.width < large.size[0]  # by the small one: its middle is on that of the large one
    inside = covered or all(abs(a - b) < 12 for a, b in zip(small.rect.center, large.rect.center, strict=True))
    return submit(page) if inside else Drag(small, large)


@plan("highlight-text", "highlight-text-2")
def _highlight(page: Page) -> Intent:
    texts = [e for e in page.all("text") if " " in e.text]
    n = ordinal(page.value("target")) - 1 if page.value("target") else 0
    text = need(texts[n] if n < len(texts) else None, "paragraph")
    if page.view.selection.split() == text.text.split():
        return submit(page)
    x, y, width, height = text.rect
    return Drag((x, y + 1), (min(159, x + width + 4), y + height - 1))


@plan("scroll-text-2")
def _scroll_text(page: Page) -> Intent:
    area = need(page.first("area"), "text area")
    at, most, _ = area.scroll or (0, 0, 0)
    down = page.value("target") == "bottom"
    if (at >= most - 1) if down else (at <= 0):
        return submit(page)
    return Scroll(area, 3 if down else -3)


@plan("stock-market")
def _stock(page: Page) -> Intent:
    price = next((float(e.text[1:]) for e in page.view.elements if re.fullmatch(r"\$\d+\.\d+", e.text)), None)
    return button(page, "buy") if price is not None and price <= float(page.value("target")) else Wait()


def direction(word: str, far: int = 40) -> Point:
    """Return the way that a word means, in pixels."""
    return {"up": (0, -far), "down": (0, far), "left": (-far, 0), "right": (far, 0)}[word]


@plan("circle-center")
def _centre(page: Page) -> Intent:
    circles = sorted(page.all("circle"), key=lambda e: -e.size[0])
    if len(circles) > 1 and circles[-1].size[0] < 12:
        return submit(page)
    return Click(need(next(iter(circles), None), "circle").rect.center)


@plan("find-midpoint")
def _midpoint(page: Page) -> Intent:
    circles = page.all("circle")
    if len(circles) > 2:
        return submit(page)
    (a, b), (c, d) = circles[0].rect.center, circles[1].rect.center
    return Click(((a + c) // 2, (b + d) // 2))
