// The page of `crossagent play craftworld`: twenty times a second it sends what is held, and draws what comes back.
"use strict";

const TICK = 50; // ms
const KEYS = {
  KeyW: "w", KeyA: "a", KeyS: "s", KeyD: "d", Space: "space", ShiftLeft: "left.shift", ShiftRight: "left.shift",
  ControlLeft: "left.control", ControlRight: "left.control", KeyR: "left.control", KeyE: "e", Escape: "escape", KeyQ: "q", KeyF: "f",
};
for (let n = 1; n <= 9; n++) KEYS["Digit" + n] = String(n);
const BUTTONS = { 0: "left", 2: "right" };
const at = (id) => document.getElementById(id);
const screen = at("screen");
const draw = screen.getContext("2d");
const token = document.querySelector("meta[name=token]").content;

const held = { keys: new Set(), buttons: new Set() };
const tapped = { keys: new Set(), buttons: new Set() }; // went down since the last message: held for one tick at least
let moved = [0, 0]; // mouse movement since the last message, while the pointer is locked
let pointer = null; // where the mouse is on the screen, while a window is open
let state = null;
let paused = false;
let begun = false; // the clock waits for the first key or click
let busy = false;
let image = null;
let times = [];
let stopped = false; // the last tick went wrong
let refused = false; // the browser does not lend the mouse

function locked() {
  return document.pointerLockElement === screen;
}

async function send(path, what) {
  const answer = await fetch(path, {
    method: "POST", body: JSON.stringify(what),
    headers: { "Content-Type": "application/json", "X-CrossAgent-Token": token },
  });
  if (!answer.ok) throw new Error((await answer.text()).trim());
  show(await answer.arrayBuffer());
}

function show(message) {
  const length = new DataView(message).getUint32(0, true);
  state = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
  const [width, height] = state.size;
  const rgb = new Uint8Array(message, 4 + length);
  if (!image || image.width !== width) {
    screen.width = width;
    screen.height = height;
    image = draw.createImageData(width, height);
    image.data.fill(255);
  }
  const data = image.data;
  for (let i = 0, k = 0; i < rgb.length; i += 3, k += 4) {
    data[k] = rgb[i];
    data[k + 1] = rgb[i + 1];
    data[k + 2] = rgb[i + 2];
  }
  draw.putImageData(image, 0, 0);
  for (const name of ["instruction", "category", "tick", "max_ticks", "text"]) at(name).textContent = state[name];
  at("events").replaceChildren(...state.events.map((words) => {
    const item = document.createElement("li");
    item.textContent = words;
    return item;
  }));
  const end = state.success ? "Done!" : state.dead ? "You died" : state.over ? "Out of time" : "";
  at("banner").hidden = !end;
  at("banner").textContent = end;
  at("banner").className = state.success ? "good" : "bad";
  screen.classList.toggle("window", state.window !== null);
  if (state.window !== null && locked()) {
    document.exitPointerLock();
    pointer = [...state.cursor];
  }
  hint();
  Object.assign(document.documentElement.dataset, { ready: "", window: state.window ?? "", selected: state.selected });
}

function hint() {
  at("hint").hidden = !paused && begun && (locked() || state.window !== null);
  const mouse = "Click the picture to look around with the mouse.";
  at("hint").textContent = paused ? "Paused; P goes on." : begun ? mouse : `${mouse} The clock waits for you.`;
}

function taken(kind) {
  const all = [...new Set([...held[kind], ...tapped[kind]])];
  tapped[kind].clear();
  return all;
}

function camera() {
  const whole = ([x, y]) => [x, y].map((v) => Math.max(-1200, Math.min(1200, Math.round(v))));
  if (state.window !== null && pointer && !locked()) return whole([pointer[0] - state.cursor[0], pointer[1] - state.cursor[1]]);
  const step = whole(moved);
  moved = [0, 0];
  return step;
}

async function tick() {
  if (busy || paused || !begun || !state || state.over) return;
  busy = true;
  const started = performance.now();
  try {
    await send("act", { keys: taken("keys"), buttons: taken("buttons"), camera: camera(), ticks: 1 });
    if (stopped) at("problem").hidden = true;
    stopped = false;
  } catch (error) {
    stopped = true;
    complain(error);
  }
  times = [...times.slice(-19), performance.now() - started];
  at("rate").textContent = `${Math.round(times.reduce((a, b) => a + b, 0) / times.length)} ms a tick`;
  busy = false;
}

function complain(error) {
  at("problem").textContent = error instanceof TypeError ? "The server is gone; start crossagent play again." : error.message;
  at("problem").hidden = false;
}

async function start() {
  try {
    begun = false;
    await send("reset", { task: at("task").value, seed: Number(at("seed").value) || 0 });
    at("problem").hidden = true;
    screen.focus();
  } catch (error) {
    complain(error);
  }
}

async function lock() {
  try {
    await screen.requestPointerLock();
  } catch {
    refused = true; // the mouse cannot look then, but its buttons work
  }
}

function typing(event) {
  return event.target instanceof HTMLInputElement;
}

addEventListener("keydown", (event) => {
  if (typing(event)) {
    if (event.key === "Enter") start();
    return;
  }
  if (event.code === "KeyP" && !event.repeat) {
    paused = !paused;
    hint();
    return;
  }
  const key = KEYS[event.code];
  if (key === undefined || event.metaKey) return;
  event.preventDefault();
  if (event.repeat) return;
  begun = true;
  held.keys.add(key);
  tapped.keys.add(key);
});
addEventListener("keyup", (event) => {
  held.keys.delete(KEYS[event.code]);
});
addEventListener("blur", () => {
  held.keys.clear();
  held.buttons.clear();
});

function place(event) {
  const box = screen.getBoundingClientRect();
  pointer = [
    Math.floor((event.clientX - box.left) * screen.width / box.width),
    Math.floor((event.clientY - box.top) * screen.height / box.height),
  ];
}

screen.addEventListener("mousedown", (event) => {
  event.preventDefault();
  screen.focus();
  begun = true;
  if (!state || !(event.button in BUTTONS)) return;
  if (state.window === null && !locked()) {
    if (!refused) return lock(); // the first click only takes the mouse
  }
  place(event);
  held.buttons.add(BUTTONS[event.button]);
  tapped.buttons.add(BUTTONS[event.button]);
});
addEventListener("mouseup", (event) => held.buttons.delete(BUTTONS[event.button]));
addEventListener("mousemove", (event) => {
  if (locked()) moved = [moved[0] + event.movementX, moved[1] + event.movementY];
  else if (event.target === screen) place(event);
});
screen.addEventListener("contextmenu", (event) => event.preventDefault());
screen.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (state && state.window === null) tapped.keys.add(String((state.selected + Math.sign(event.deltaY) + 9) % 9 + 1));
}, { passive: false });
at("again").addEventListener("click", start);

(async () => {
  const names = await (await fetch("tasks.json")).json();
  at("tasks").replaceChildren(...names.map((name) => Object.assign(document.createElement("option"), { value: name })));
  try {
    await send("act", { ticks: 0 });
    at("task").value = state.task;
    at("seed").value = state.seed;
  } catch (error) {
    complain(error);
  }
  setInterval(tick, TICK);
})();
