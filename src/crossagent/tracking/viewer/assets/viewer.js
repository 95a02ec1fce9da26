// What the keys and controls do, and the start.
const MODES = ["mask", "logprob", "advantage", "kl"];
let playing = 0;

function problem(error) {
  $("problem").hidden = false;
  $("problem").textContent = `This page could not show its data: ${error?.message ?? error}`;
}
addEventListener("unhandledrejection", (event) => problem(event.reason));
addEventListener("error", (event) => problem(event.error));

function setMode(mode) {
  view.mode = mode;
  document.querySelector(`input[name=mode][value=${mode}]`).checked = true;
  if (view.member) paint();
}

function setCompare(on) {
  if (!view.member || view.members.length < 2) return;
  view.compare = on;
  view.turn = Math.max(0, Math.min(view.turn, longest() - 1));
  paint();
}

function setPlaying(on) {
  clearInterval(playing);
  playing = on ? setInterval(() => (view.turn >= longest() - 1 ? setPlaying(false) : goTo(view.turn + 1)), 900) : 0;
  $("play").textContent = on ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", String(on));
}

function play() {
  if (!view.member) return;
  if (!playing && view.turn >= longest() - 1) goTo(0);
  setPlaying(!playing);
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  ArrowRight: () => goTo(view.turn + 1),
  ArrowLeft: () => goTo(view.turn - 1),
  Home: () => goTo(0),
  End: () => goTo(Infinity),
  "]": () => pickToken(view.token + 1),
  "[": () => pickToken(view.token < 0 ? 0 : view.token - 1),
  1: () => setMode(MODES[0]),
  2: () => setMode(MODES[1]),
  3: () => setMode(MODES[2]),
  4: () => setMode(MODES[3]),
  n: () => $("numbers").click(),
  c: () => setCompare(!view.compare),
  p: play,
  "/": () => $("f-text").focus(),
  "?": () => $("help").showModal(),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const target = event.target;
  if (event.key === "Escape") {
    if (target.matches("input, select, textarea")) target.blur();
    else if (view.compare) setCompare(false);
    return;
  }
  const typing = target.matches("select, textarea, input:not([type=radio]):not([type=checkbox]):not([type=range])");
  const moving = event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End";
  if (typing || (moving && target.matches("input"))) return; // radio buttons and the slider have arrows of their own
  if (target.id === "list" && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    event.preventDefault();
    move(event.key === "ArrowDown" ? 1 : -1);
    return;
  }
  if (!moving && !$("keys").checked) return;
  const act = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
  if (act) {
    event.preventDefault();
    act();
  }
}

function fromAddress() {
  const [, name, turn] = /^#(.*?)(?:@(\d+))?$/.exec(location.hash) ?? [];
  let wanted = "";
  try { wanted = decodeURIComponent(name ?? ""); } catch { /* not one of our addresses */ }
  const i = index.rows.findIndex((row) => row.name === wanted);
  return i < 0 ? null : [i, Number(turn ?? 1) - 1];
}

function listen() {
  document.addEventListener("keydown", onKey);
  $("filters").addEventListener("input", applyFilters);
  $("filters").addEventListener("reset", () => setTimeout(applyFilters));
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("list").addEventListener("scroll", paintRows, { passive: true });
  addEventListener("resize", paintRows);
  addEventListener("hashchange", () => { const at = fromAddress(); if (at) choose(...at); });
  $("turn").addEventListener("input", (event) => goTo(Number(event.target.value)));
  $("previous").addEventListener("click", () => goTo(view.turn - 1));
  $("next").addEventListener("click", () => goTo(view.turn + 1));
  $("play").addEventListener("click", play);
  $("compare").addEventListener("click", () => setCompare(!view.compare));
  $("modes").addEventListener("change", (event) => setMode(event.target.value));
  $("numbers").addEventListener("change", () => document.body.classList.toggle("numbers", $("numbers").checked));
  $("help-open").addEventListener("click", () => $("help").showModal());
}

async function start() {
  const count = index.rows.length;
  $("shown").textContent =
    (count === index.total ? plural(count, "trajectory") : `${count} of ${index.total} trajectories, spread over the run (--max shows more)`) +
    (index.tokenizer ? "" : " · no tokenizer found: tokens are shown by number");
  fillFilters();
  listen();
  await applyFilters();
  performance.mark("list");
  onChoose = open;
  const [first, turn] = fromAddress() ?? [0, 0];
  if (count) await choose(first, turn);
  else fill($("single"), el("p", { class: "panel note" }, "This run has no trajectories yet."));
  performance.mark("ready");
  document.documentElement.dataset.ready = "yes";
}

await start();
