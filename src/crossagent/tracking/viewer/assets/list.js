// The list: filters, and rows made only for what is in view, so that its length costs nothing.
const ROW = 46;
const FIELDS = {
  task: (row) => [row.task],
  stage: (row) => [row.stage],
  which: (row) => [row.step === null ? row.which : `step ${row.step}`],
  space: (row) => row.spaces,
  success: (row) => [row.success ? "success" : "no success"],
  ending: (row) => [row.ending],
};
const KEEPS_ORDER = new Set(["stage", "which"]);
let passing = index.rows.map((_, i) => i);
let chosen = -1; // of index.rows
let onChoose = () => {};

function fillFilters() {
  for (const [name, values] of Object.entries(FIELDS)) {
    const counts = new Map();
    for (const row of index.rows) for (const value of values(row)) counts.set(value, (counts.get(value) ?? 0) + 1);
    const names = [...counts.keys()];
    if (!KEEPS_ORDER.has(name)) names.sort();
    fill($(`f-${name}`), el("option", { value: "" }, "all"), names.map((v) => el("option", { value: `=${v}` }, `${v} (${counts.get(v)})`)));
  }
}

async function applyFilters() {
  const wanted = Object.entries(FIELDS).flatMap(([name, values]) => {
    const value = $(`f-${name}`).value;
    return value ? [[values, value.slice(1)]] : [];
  });
  const words = $("f-text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const said = words.length ? await loadSaid() : null;
  if (words.join(" ") !== $("f-text").value.toLowerCase().split(/\s+/).filter(Boolean).join(" ")) return; // typed on
  passing = [];
  index.rows.forEach((row, i) => {
    if (!wanted.every(([values, value]) => values(row).includes(value))) return;
    if (words.length) {
      const all = `${row.name} ${row.task} ${row.category} ${row.instruction} ${row.ending} ${row.spaces.join(" ")} ${said[i]}`.toLowerCase();
      if (!words.every((word) => all.includes(word))) return;
    }
    passing.push(i);
  });
  $("count").textContent = `${passing.length} of ${index.rows.length}`;
  $("list").scrollTop = 0;
  paintRows();
}

function rowNode(at) {
  const i = passing[at];
  const row = index.rows[i];
  const selected = i === chosen;
  return el(
    "div",
    {
      class: "row", role: "option", id: `row-${i}`, "aria-selected": String(selected), "aria-posinset": at + 1,
      "aria-setsize": passing.length, style: { top: `${at * ROW}px` }, onclick: () => choose(i),
    },
    el("span", { class: row.success ? "mark good" : "mark bad", "aria-label": outcomeWord(row.success) }, row.success ? "✓" : "✗"),
    el("span", { class: "what" }, el("b", {}, row.task), el("small", {}, `${row.name} · ${row.ending} · ${plural(row.turns, "turn")}`)),
    el("span", { class: "value" }, number(row.return, 2), el("small", {}, row.spaces.join(" "))),
  );
}

function paintRows() {
  const list = $("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 6);
  const last = Math.min(passing.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 6);
  $("rows").style.height = `${passing.length * ROW}px`;
  fill($("rows"), Array.from({ length: Math.max(0, last - first) }, (_, k) => rowNode(first + k)));
  const active = chosen >= 0 && $(`row-${chosen}`);
  if (active) list.setAttribute("aria-activedescendant", active.id);
  else list.removeAttribute("aria-activedescendant");
}

function scrollToChosen() {
  const at = passing.indexOf(chosen);
  const list = $("list");
  if (at < 0) return;
  if (at * ROW < list.scrollTop) list.scrollTop = at * ROW;
  else if ((at + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (at + 1) * ROW - list.clientHeight;
}

function choose(i, turn = 0) {
  chosen = i;
  scrollToChosen();
  paintRows();
  return onChoose(i, turn);
}

// Go down or up among those that pass; from one that does not, to the first.
function move(by) {
  if (!passing.length) return;
  const at = passing.indexOf(chosen);
  const next = at < 0 ? 0 : Math.min(passing.length - 1, Math.max(0, at + by));
  if (passing[next] !== chosen) choose(passing[next]);
}
