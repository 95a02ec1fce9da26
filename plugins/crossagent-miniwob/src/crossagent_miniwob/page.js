// Injected before any script of a page: a clock that moves when it is told to, a clipboard of the page's own, and what the
// page looks like as data. Everything is under `crossagent`; what the page draws from time or chance is deterministic.
(() => {
  "use strict";
  const WIDTH = 160, HEIGHT = 210, FRAME = 1000 / 60, EPOCH = Date.UTC(2016, 11, 1, 12);
  const native = { Date: window.Date, frame: window.requestAnimationFrame.bind(window) };

  // -- the clock ----------------------------------------------------------------------------------------------------
  let now = 0, serial = 0, draws = 0;
  const timers = new Map(); // id -> {due, order, every, run}
  const schedule = (run, wait, every, rest) => {
    serial += 1;
    const delay = Math.max(0, Number(wait) || 0);
    const call = typeof run === "function" ? run : () => (0, eval)(String(run));
    timers.set(serial, { due: now + delay, order: serial, every: every ? Math.max(1, delay) : 0, run: () => call.apply(window, rest) });
    return serial;
  };
  window.setTimeout = (run, wait, ...rest) => schedule(run, wait, false, rest);
  window.setInterval = (run, wait, ...rest) => schedule(run, wait, true, rest);
  window.requestAnimationFrame = (run) => schedule(() => run(now), FRAME - (now % FRAME), false, []);
  window.clearTimeout = window.clearInterval = window.cancelAnimationFrame = (id) => { timers.delete(id); };
  window.requestIdleCallback = (run) => schedule(() => run({ didTimeout: false, timeRemaining: () => 10 }), 1, false, []);
  window.cancelIdleCallback = window.clearTimeout;
  performance.now = () => now;
  window.Date = new Proxy(native.Date, {
    construct: (target, args, as) => Reflect.construct(target, args.length ? args : [EPOCH + now], as),
    apply: () => new native.Date(EPOCH + now).toString(),
    get: (target, key) => (key === "now" ? () => EPOCH + Math.floor(now) : Reflect.get(target, key)),
  });
  const advance = (ms) => {
    const end = now + ms;
    let runs = 0;
    for (; ; runs += 1) {
      let next = null;
      for (const timer of timers.entries())
        if (timer[1].due <= end && (next === null || timer[1].due < next[1].due || (timer[1].due === next[1].due && timer[1].order < next[1].order))) next = timer;
      if (next === null || runs >= 2000) break;
      const [id, timer] = next;
      now = Math.max(now, timer.due);
      if (timer.every) { timer.due += timer.every; timer.order = serial += 1; } else timers.delete(id);
      try { timer.run(); } catch (error) { console.error(error); }
    }
    now = end;
    return runs;
  };

  // -- chance ---------------------------------------------------------------------------------------------------------
  let mixed = 0x2545f491;
  Math.random = () => { // until the page's own generator is seeded
    mixed ^= mixed << 13; mixed ^= mixed >>> 17; mixed ^= mixed << 5;
    return (mixed >>> 0) / 4294967296;
  };
  const seed = (given) => {
    Math.seedrandom(given);
    const drawn = Math.random;
    draws = 0;
    Math.random = () => { draws += 1; return drawn(); };
  };

  // -- what would leave the page -----------------------------------------------------------------------------------------
  window.alert = () => {};
  window.confirm = () => true;
  window.prompt = () => null;
  window.open = () => null;
  let clipboard = "";
  const editable = (e) => e instanceof HTMLTextAreaElement || (e instanceof HTMLInputElement && e.selectionStart !== null);
  const selected = () => {
    const at = document.activeElement;
    return editable(at) ? at.value.slice(at.selectionStart, at.selectionEnd) : String(getSelection());
  };
  for (const kind of ["copy", "cut"])
    addEventListener(kind, (event) => {
      clipboard = selected() || clipboard;
      event.preventDefault();
      if (kind === "cut") document.execCommand("delete");
    }, true);
  addEventListener("paste", (event) => {
    event.preventDefault();
    if (clipboard) document.execCommand("insertText", false, clipboard);
  }, true);
  // What the wheel over an element turns; with a direction, only what can still go there.
  const scroller = (e, way = 0) => {
    const goes = (p) => p.scrollHeight > p.clientHeight + 1 && (way === 0 || (way > 0 ? p.scrollTop < p.scrollHeight - p.clientHeight : p.scrollTop > 0));
    for (let p = e; p && p !== document.body; p = p.parentElement) {
      const own = p.tagName === "TEXTAREA" || (p.tagName === "SELECT" && p.size > 1) || /auto|scroll/.test(getComputedStyle(p).overflowY);
      if (own && goes(p)) return p;
    }
    const all = document.scrollingElement;
    return all.scrollHeight > all.clientHeight ? all : null;
  };
  addEventListener("wheel", (event) => { // at once, where Chromium would scroll with its next frames
    if (event.defaultPrevented) return;
    event.preventDefault();
    const turned = scroller(event.target, event.deltaY);
    if (turned) turned.scrollTop += event.deltaY;
    if (held) hold();
  }, { passive: false });
  // While a button is held, Chromium scrolls what the mouse selects in, frame by frame. Only what the page itself scrolls stays.
  let held = null;
  const hold = () => {
    held = new Map();
    for (const e of document.querySelectorAll("*")) if (e.scrollHeight > e.clientHeight + 1) held.set(e, e.scrollTop);
  };
  const unscroll = () => { if (held) for (const [e, top] of held) if (e.scrollTop !== top) e.scrollTop = top; };
  addEventListener("mousedown", hold, true);
  addEventListener("mousemove", unscroll, true);
  addEventListener("mousemove", () => { if (held) hold(); });
  addEventListener("mouseup", () => { unscroll(); held = null; }, true);
  // A list that drops down is drawn outside the page, where no screenshot or event goes: it is chosen from by keys instead. A list
  // box would scroll by itself while a button is held, frame by frame: here a press chooses, with control or shift more than one.
  let anchor = null;
  addEventListener("mousedown", (event) => {
    const list = event.target.closest && event.target.closest("select");
    if (!list || list.disabled) return;
    event.preventDefault();
    list.focus();
    const option = event.target.closest("option");
    if (!option || option.disabled) return;
    const before = [...list.options].map((o) => o.selected).join();
    const [from, to] = [anchor && anchor.parentElement === list ? anchor.index : option.index, option.index].sort((a, b) => a - b);
    for (const other of list.options) {
      const within = list.multiple && event.shiftKey ? other.index >= from && other.index <= to : other === option;
      if (list.multiple && event.ctrlKey) { if (other === option) other.selected = !other.selected; } else other.selected = within;
    }
    if (!event.shiftKey) anchor = option;
    if ([...list.options].map((o) => o.selected).join() !== before) for (const kind of ["input", "change"]) list.dispatchEvent(new Event(kind, { bubbles: true }));
  }, true);
  for (const kind of ["mousemove", "mouseup"])
    addEventListener(kind, (event) => { if (event.target.closest && event.target.closest("select")) event.preventDefault(); }, true);
  // The mouse is said to be where it is now and then, to find out what is under it: that is no movement.
  const place = {};
  for (const kind of ["mousemove", "pointermove"])
    addEventListener(kind, (event) => {
      const here = `${event.clientX},${event.clientY}`;
      if (place[kind] === here) event.stopImmediatePropagation();
      place[kind] = here;
    }, true);
  // Ends the wait for the next frame, in which a mouse movement would be handled otherwise; no key a page knows.
  for (const kind of ["keydown", "keyup"])
    addEventListener(kind, (event) => { if (event.key === "Unidentified") event.stopImmediatePropagation(); }, true);

  const frames = () => new Promise((go) => native.frame(() => native.frame(() => go(0))));

  // -- an episode --------------------------------------------------------------------------------------------------------
  const still = () => !(window.jQuery && window.jQuery.timers && window.jQuery.timers.length);
  const status = (runs) => [Boolean(window.WOB_DONE_GLOBAL), Number(window.WOB_RAW_REWARD_GLOBAL) || 0, still(), runs > 0];
  const pictures = () => Promise.all([document.fonts.ready, ...[...document.images].map((i) => i.decode().catch(() => 0))]);
  // Pictures that style sheets name have no size until they are loaded; loaded and kept, they have it as soon as they are used.
  const kept = [];
  const sheets = () => {
    for (const sheet of document.styleSheets) {
      if (sheet.href) continue; // those of jQuery UI and the like, whose pictures are backgrounds
      for (const rule of sheet.cssRules)
        for (const found of rule.cssText.matchAll(/url\("([^"]+)"\)/g)) {
          const image = new Image();
          image.src = new URL(found[1], document.baseURI).href;
          kept.push(image);
        }
    }
    return Promise.all(kept.map((image) => image.decode().catch(() => 0)));
  };
  // A style that a script sets becomes an attribute when it is first read, and stands where it came in: read in every tick.
  const written = () => document.body.innerHTML.length;
  const begin = async (given, mode) => {
    const style = document.createElement("style");
    style.textContent = "*, *::before, *::after { transition: none !important; animation: none !important; caret-color: transparent; }";
    document.head.append(style);
    await sheets();
    seed(given);
    core.setDataMode(mode);
    core.startEpisodeReal();
    for (let waited = 0; !window.WOB_TASK_READY && waited < 20000; waited += 50) advance(50);
    // Turns are the budget, not seconds: the page's timer is stopped; that it is set still means that the episode goes on.
    clearTimeout(core.EP_TIMER);
    clearInterval(core.CD_TIMER);
    advance(50);
    await pictures();
    written();
    return status(1);
  };
  // What loses the focus because it is hidden or disabled would lose it with the next frame, sooner or later.
  const fixFocus = () => {
    const at = document.activeElement;
    if (at && at !== document.body && (at.disabled || !at.checkVisibility({ visibilityProperty: true }))) at.blur();
  };
  const listed = () => document.querySelector("select[multiple], select[size]") !== null;
  const tick = async (ms, acted) => {
    if (window.WOB_DONE_GLOBAL) return status(0);
    if (acted && listed()) await frames(); // a list box scrolls to what was chosen in a task of its own
    unscroll();
    fixFocus();
    const runs = advance(ms);
    fixFocus();
    if (held) hold();
    written();
    return status(runs);
  };

  // -- what can be seen ----------------------------------------------------------------------------------------------------
  const IGNORED = "#query, #reward-display, #sync-task-cover, #click-canvas, script, style, defs, br, hr, noscript";
  const words = (text) => (text || "").replace(/\s+/g, " ").trim();
  const own = (e) => words([...e.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE).map((n) => n.data).join(" "));
  const NAMED = { "255,0,0": "red", "0,128,0": "green", "0,255,0": "lime", "0,0,255": "blue", "255,255,0": "yellow", "0,0,0": "black", "255,255,255": "white",
    "128,128,128": "grey", "255,165,0": "orange", "128,0,128": "purple", "255,192,203": "pink", "0,255,255": "aqua", "255,0,255": "magenta", "165,42,42": "brown",
    "238,130,238": "violet", "0,128,128": "teal", "128,128,0": "olive", "0,0,128": "navy", "192,192,192": "silver", "128,0,0": "maroon", "211,211,211": "lightgrey" };
  const colour = (text) => {
    const part = /^rgba?\((\d+), (\d+), (\d+)(?:, ([\d.]+))?\)$/.exec(text);
    if (!part || part[4] === "0") return "";
    const rgb = [part[1], part[2], part[3]];
    return NAMED[rgb.join(",")] || "#" + rgb.map((v) => (+v).toString(16).padStart(2, "0")).join("");
  };
  const KINDS = { A: "link", BUTTON: "button", TEXTAREA: "area", SELECT: "list", IMG: "image", TD: "cell", TH: "cell", LI: "item", LABEL: "label", OPTION: "option",
    H1: "heading", H2: "heading", H3: "heading", CANVAS: "canvas" };
  const INPUTS = { submit: "button", button: "button", reset: "button", checkbox: "checkbox", radio: "radio" };
  const SHAPES = new Set(["circle", "rect", "polygon", "line", "ellipse", "path", "text", "image"]);
  const kindOf = (e) => {
    if (e instanceof SVGElement) return SHAPES.has(e.tagName) ? e.tagName : "";
    if (e instanceof HTMLInputElement) return INPUTS[e.type] || (e.type === "text" ? "field" : e.type);
    return KINDS[e.tagName] || "";
  };
  const PLAIN = new Set(["SPAN", "B", "STRONG", "I", "EM", "U", "BR", "SUP", "SUB"]);
  const inline = (e) => // a text with words set off in it, none of which can be clicked
    own(e) && [...e.children].every((c) => PLAIN.has(c.tagName) && !c.firstElementChild && getComputedStyle(c).cursor !== "pointer");
  const textOf = (e, kind) => {
    if (e instanceof HTMLInputElement) return kind === "button" ? words(e.value) : "";
    if (e instanceof HTMLTextAreaElement || e instanceof HTMLSelectElement) return "";
    return kind === "button" || kind === "link" || inline(e) ? words(e.innerText || e.textContent) : own(e);
  };
  const before = (e) => {
    for (let n = e.previousSibling; n; n = n.previousSibling) {
      if (n.nodeType === Node.TEXT_NODE ? words(n.data) : n.tagName === "LABEL") return words(n.textContent);
      if (n.nodeType === Node.ELEMENT_NODE && n.tagName !== "BR") return "";
    }
    return "";
  };
  const labelOf = (e, text, kind) => {
    const classes = typeof e.className === "string" ? e.className : "";
    const last = words(classes).split(" ").filter((c) => !/^ui-(?!icon-)|^alink$/.test(c)).pop() || "";
    if (kind === "button" || (text && !(e instanceof SVGElement))) return text || e.title || e.value || e.id || last;
    if (e instanceof HTMLInputElement || e instanceof HTMLTextAreaElement || e instanceof HTMLSelectElement) {
      const tied = e.labels && e.labels.length ? words(e.labels[0].textContent) : "";
      return tied || before(e) || e.placeholder || (kind === "checkbox" || kind === "radio" ? "" : e.name) || "";
    }
    if (e instanceof SVGElement) return text;
    return e.title || e.alt || last.replace(/^ui-icon-/, "") || e.id;
  };
  const painted = (how) => colour(how.backgroundColor) || how.backgroundImage !== "none" || how.cursor === "pointer" || how.borderTopWidth !== "0px";
  const MARK = /(^|[ _-])(active|selected|clicked|current|checked|pressed|chosen|expanded|open|complete)( |$)/;
  const marked = (e) => {
    for (const name of ["aria-selected", "aria-expanded", "aria-pressed", "aria-checked"]) if (e.getAttribute(name) === "true") return true;
    const near = e.parentElement && e.parentElement.children.length === 1 ? " " + e.parentElement.getAttribute("class") : "";
    return MARK.test((e.getAttribute("class") || "") + near);
  };
  const boxOf = (e) => { // of a text that is broken over lines, the first line
    const lines = e instanceof SVGElement || getComputedStyle(e).display !== "inline" ? [] : e.getClientRects();
    return lines.length > 1 && lines[0].width >= 2 ? lines[0] : e.getBoundingClientRect();
  };
  const clipped = (e) => { // the part of an element that is on the screen, and which side the rest is on
    const r = boxOf(e);
    let [x0, y0, x1, y1] = [Math.max(r.left, 0), Math.max(r.top, 0), Math.min(r.right, WIDTH), Math.min(r.bottom, HEIGHT)];
    let side = r.top >= HEIGHT ? "below" : r.bottom <= 0 ? "above" : "";
    for (let p = e.parentElement; p && p !== document.body; p = p.parentElement) {
      if (p instanceof SVGElement) continue;
      const how = getComputedStyle(p);
      if (how.overflowX === "visible" && how.overflowY === "visible") continue;
      const b = p.getBoundingClientRect();
      if (!side && r.height && how.overflowY !== "visible") side = r.top >= b.bottom - 1 ? "below" : r.bottom <= b.top + 1 ? "above" : "";
      if (side && how.overflowY === "hidden") side = "gone";
      [x0, y0, x1, y1] = [Math.max(x0, b.left), Math.max(y0, b.top), Math.min(x1, b.right), Math.min(y1, b.bottom)];
    }
    return [x0, y0, x1, y1, side];
  };
  const reachable = (e, x, y) => {
    const hit = document.elementFromPoint(x, y);
    return hit !== null && (e.contains(hit) || hit.contains(e) || (e.labels && [...e.labels].some((l) => l.contains(hit))));
  };
  // The part of a rectangle in whose middle the element itself is hit: all of it, else a quarter, else a corner.
  const PARTS = [[0, 0, 1]];
  for (const size of [0.5, 0.2]) for (const [x, y] of [[0, 0], [1 - size, 0], [0, 1 - size], [1 - size, 1 - size]]) PARTS.push([x, y, size]);
  const uncovered = (e, [x0, y0, x1, y1]) => {
    const [w, h] = [x1 - x0, y1 - y0];
    const found = PARTS.find(([a, b, size]) => reachable(e, x0 + (a + size / 2) * w, y0 + (b + size / 2) * h));
    return found && [x0 + found[0] * w, y0 + found[1] * h, found[2] * w, found[2] * h];
  };
  const look = () => {
    const found = [];
    const wrap = document.getElementById("wrap");
    const add = (e) => {
      if (e.matches(IGNORED)) return;
      const how = getComputedStyle(e);
      if (how.display === "none") return;
      if (e instanceof HTMLLabelElement && e.control && e.control.getBoundingClientRect().width) { // it is the name of that
        for (const child of e.children) add(child);
        return;
      }
      const text = textOf(e, kindOf(e)), kind = kindOf(e) || (text && how.cursor === "pointer" ? "link" : "");
      const control = e instanceof HTMLInputElement || e instanceof HTMLTextAreaElement || e instanceof HTMLSelectElement;
      const shape = e instanceof SVGElement ? SHAPES.has(e.tagName) : false;
      const empty = !e.firstElementChild && !text && !(e instanceof SVGElement) && (control || kind || painted(how));
      if ((kind === "button" || kind === "link" || control || shape || text || empty || kind === "image") && how.visibility === "visible" && how.opacity !== "0") {
        const r = e.getBoundingClientRect();
        const box = empty && !control && kind !== "image" && kind !== "canvas";
        const paint = shape ? (how.fill === "none" || e.tagName === "line" ? how.stroke : how.fill) : how.backgroundColor;
        if (r.width >= 1 && r.height >= 1 || e.tagName === "line") {
          const [x0, y0, x1, y1, side] = clipped(e);
          const flat = e.tagName === "line";
          const open = flat || (x1 - x0 >= 2 && y1 - y0 >= 2);
          if ((side && side !== "gone") || (open && !side)) {
            const pick = scroller(e);
            const item = { kind: kind || (box ? "box" : "text"), text, label: labelOf(e, text, kind || "text"), w: Math.round(r.width), h: Math.round(r.height), side,
              colour: shape || box ? colour(paint) : "", focus: document.activeElement === e, off: Boolean(e.disabled), marked: marked(e) };
            if (control && kind !== "button") item.value = e.type === "checkbox" || e.type === "radio" ? e.checked : e.value;
            if (e instanceof HTMLSelectElement) {
              item.options = [...e.options].map((o) => words(o.text));
              item.chosen = [...e.selectedOptions].map((o) => o.index);
              item.value = words(e.selectedOptions.length ? e.selectedOptions[0].text : "");
            }
            if (e instanceof HTMLTextAreaElement || (control && e.selectionStart !== null && e.selectionStart !== undefined)) item.caret = [e.selectionStart, e.selectionEnd];
            if (pick) item.scroll = [Math.round(pick.scrollTop), pick.scrollHeight - pick.clientHeight, pick.clientHeight];
            const part = side || e instanceof SVGElement ? [x0, y0, x1 - x0, y1 - y0] : uncovered(e, [x0, y0, x1, y1]);
            if (part) { item.rect = part.map(Math.round); found.push(item); }
          }
        }
      }
      if (kind === "button" || kind === "link" || (text && e.firstElementChild && inline(e)) || e instanceof HTMLSelectElement && !e.multiple && e.size <= 1) return;
      for (const child of e.children) add(child);
    };
    for (const child of document.body.children) {
      if (child === wrap) { for (const inner of child.children) add(inner); } else add(child);
    }
    const text = document.getElementById("query");
    return { told: told(text), elements: found, selection: words(String(getSelection())), status: status(0), digest: digest() };
  };
  const told = (query) => {
    if (!query) return "";
    const raw = core.getUtterance();
    return words(typeof raw === "string" ? raw : raw.utterance);
  };
  const state = () => { // everything the future depends on, as far as a page lets it be seen
    const parts = [document.body.innerHTML, now, draws, clipboard, String(getSelection())];
    for (const e of document.querySelectorAll("input, textarea, select")) parts.push(e.value, e.checked, e.selectedIndex, document.activeElement === e && editable(e) ? [e.selectionStart, e.selectionEnd] : 0);
    for (const e of document.querySelectorAll("*")) if (e.scrollTop || e.scrollLeft) parts.push(e.tagName, e.scrollTop, e.scrollLeft);
    let path = "";
    for (let e = document.activeElement; e && e.parentElement; e = e.parentElement) path += [...e.parentElement.children].indexOf(e) + "/";
    for (const t of timers.values()) parts.push(t.due, t.every);
    parts.push(path, window.WOB_DONE_GLOBAL, window.WOB_RAW_REWARD_GLOBAL);
    return parts.join("\u0000");
  };
  const digest = () => {
    const text = state();
    let a = 0xdeadbeef, b = 0x41c6ce57;
    for (let i = 0; i < text.length; i += 1) { const c = text.charCodeAt(i); a = Math.imul(a ^ c, 2654435761); b = Math.imul(b ^ c, 1597334677); }
    return (a >>> 0).toString(16) + (b >>> 0).toString(16);
  };
  Object.defineProperty(window, "crossagent", { value: Object.freeze({ begin, tick, look, state, pictures: () => pictures().then(() => 0) }) });
})();
