// The live page: asks for the run's state every two seconds and draws what has changed.
const EVERY_MS = 2000;
const SVG = "http://www.w3.org/2000/svg";
const FIRST = ["eval/", "success", "return", "loss", "reward", "share", "entropy", "kl", "cost", "clip", "ratio", "invalid"];
const PANELS = 12;
const WORDS = { evaluated: "✓ trained and evaluated", trained: "✓ trained, being evaluated", training: "▶ in progress", waiting: "waiting" };
let state = null;
let seen = null; // the tag of the state on screen
let stage = null; // the user's choice; null: the newest that has curves

function svg(tag, properties, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

// metric → its panel and the name of its line there: one panel for a number of every space.
function panelOf(metric) {
  const match = /^space\/(.+)\/([^/]+)$/.exec(metric);
  return match ? [`space: ${match[2]}`, match[1]] : [metric, ""];
}

function panels(metrics) {
  const found = new Map();
  for (const [metric, points] of Object.entries(metrics)) {
    const [panel, line] = panelOf(metric);
    if (!found.has(panel)) found.set(panel, []);
    found.get(panel).push([line, points]);
  }
  const rank = (name) => { const at = FIRST.findIndex((word) => name.includes(word)); return (name.startsWith("time/") ? 100 : 0) + (at < 0 ? FIRST.length : at); };
  return [...found].sort((a, b) => rank(a[0]) - rank(b[0]) || (a[0] < b[0] ? -1 : 1));
}

const short = (value) => (Math.abs(value) >= 1000 || (value !== 0 && Math.abs(value) < 0.01) ? value.toExponential(1) : String(Number(value.toPrecision(3))));

function chart(name, lines) {
  const [width, height, left, bottom] = [300, 130, 40, 16];
  const points = lines.flatMap(([, own]) => own);
  const xs = points.map((p) => p[0]);
  const ys = points.map((p) => p[1]);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  let [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  if (y0 === y1) [y0, y1] = [y0 - 0.5, y1 + 0.5];
  const x = (v) => left + ((width - left - 6) * (v - x0)) / (x1 - x0 || 1);
  const y = (v) => 6 + ((height - bottom - 12) * (y1 - v)) / (y1 - y0);
  const last = lines.map(([line, own]) => `${line ? `${line} ` : ""}${short(own.at(-1)[1])}`).join(", ");
  const label = `${name}, steps ${x0} to ${x1}: last ${last}; lowest ${short(Math.min(...ys))}, highest ${short(Math.max(...ys))}`;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  drawing.append(svg("path", { class: "axis", d: `M${left} 4V${height - bottom}H${width}` }));
  for (const v of [y0, y1]) drawing.append(svg("text", { class: "svgtext", x: left - 4, y: y(v) + 3, "text-anchor": "end" }, short(v)));
  drawing.append(svg("text", { class: "svgtext", x: left, y: height - 4 }, String(x0)), svg("text", { class: "svgtext", x: width, y: height - 4, "text-anchor": "end" }, `step ${x1}`));
  lines.forEach(([, own], k) => {
    if (own.length === 1) drawing.append(svg("circle", { class: `dot c${k % 4}`, cx: x(own[0][0]), cy: y(own[0][1]), r: 3 }));
    else drawing.append(svg("path", { class: `line c${k % 4}`, d: own.map((p, i) => `${i ? "L" : "M"}${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`).join("") }));
  });
  const keys = lines.length < 2 ? [] : lines.map(([line], k) => el("span", {}, keyLine(k), line));
  return el("figure", {}, el("figcaption", {}, el("b", {}, name), el("span", {}, last), keys), drawing);
}

function keyLine(k) {
  const drawing = svg("svg", { viewBox: "0 0 26 10", "aria-hidden": "true", class: "key" });
  drawing.append(svg("path", { class: `line c${k % 4}`, d: "M0 5H26" }));
  return drawing;
}

function showStages() {
  fill($("stages"), state.stages.map((one) => el("li", { class: one.status === "training" ? "now" : null }, `${one.name}: ${WORDS[one.status]}${one.step ? `, step ${one.step}` : ""}`)));
  const now = state.stages.find((one) => one.status === "training" || one.status === "trained");
  $("status").textContent = state.complete ? "The run is complete." : now ? `Stage ${now.name}: ${WORDS[now.status]}` : state.stages.some((one) => one.status !== "waiting") ? "Between stages." : "Before the first stage.";
  $("problem").hidden = !state.problem;
  $("problem").textContent = state.problem;
}

function showCurves() {
  const able = state.stages.filter((one) => Object.keys(one.metrics).length);
  const name = able.some((one) => one.name === stage) ? stage : able.at(-1)?.name;
  fill($("stage"), able.map((one) => el("option", { value: one.name, selected: one.name === name }, one.name)));
  const metrics = able.find((one) => one.name === name)?.metrics;
  if (!metrics) {
    fill($("curves"), el("p", { class: "note" }, "No metrics yet: they come after the first training step."));
    return;
  }
  const all = panels(metrics);
  fill($("curves"), ($("all").checked ? all : all.slice(0, PANELS)).map(([panel, lines]) => chart(panel, lines)));
}

function showEpisodes() {
  const { which, total, rows } = state.episodes;
  $("episodes-note").textContent = which ? `${which}: ${rows.length === total ? plural(total, "trajectory") : `${rows.length} of ${total} trajectories`}; letters are spaces, turn by turn.` : "";
  if (!rows.length) {
    fill($("episodes"), el("p", { class: "note" }, "No episodes yet: they come with the first evaluation or the first iteration of reinforcement."));
    return;
  }
  const heads = ["", "trajectory", "task", "ending", "J", "turns", "last response"];
  const order = state.spaces;
  fill($("episodes"), el("table", {},
    el("thead", {}, el("tr", {}, heads.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, rows.map((row) => el("tr", {},
      el("td", { class: row.success ? "mark good" : "mark bad" }, outcomeWord(row.success)),
      el("td", {}, el("a", { href: `/episodes?of=${encodeURIComponent(which)}#${encodeURIComponent(row.name)}` }, row.name)),
      el("td", {}, row.task),
      el("td", {}, row.ending),
      el("td", {}, number(row.return, 2)),
      el("td", {}, row.spaces.map((space) => el("span", { class: `tick s${Math.max(0, order.indexOf(space)) % 4}`, title: space ?? "no space" }, (space ?? "–").slice(0, 1)))),
      el("td", { class: "said" }, row.said))))));
}

function showEvaluation() {
  const rows = state.evaluations;
  if (!rows.length) {
    fill($("evaluation"), el("p", { class: "note" }, "No evaluation yet."));
    return;
  }
  fill($("evaluation"), el("table", {},
    el("thead", {}, el("tr", {}, ["after", "suite", "agent", "success", "95 %", "J", "episodes"].map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, rows.map((row) => el("tr", {},
      el("th", { scope: "row" }, row.stage), el("td", {}, row.suite), el("td", {}, row.agent), el("td", {}, percent(row.success)),
      el("td", {}, `${(100 * row.ci95[0]).toFixed(0)}–${(100 * row.ci95[1]).toFixed(0)}`), el("td", {}, number(row.return)), el("td", {}, String(row.episodes)))))));
}

function showAge() {
  if (!state?.changed) return;
  const age = Math.max(0, Date.now() / 1000 - state.changed);
  const text = age < 60 ? `${age.toFixed(0)} s` : age < 3600 ? `${(age / 60).toFixed(0)} min` : `${(age / 3600).toFixed(1)} h`;
  $("age").textContent = `last file written ${text} ago`;
}

async function look() {
  try {
    const answer = await fetch("/state.json", { cache: "no-cache" });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const tag = answer.headers.get("etag");
    if (tag !== seen) {
      state = await answer.json();
      seen = tag;
      showStages();
      showEpisodes();
      showCurves();
      showEvaluation();
    }
    document.documentElement.dataset.ready = "yes";
  } catch (error) {
    $("problem").hidden = false;
    $("problem").textContent = `No answer from crossagent watch (${error.message}); asking again.`;
    seen = null;
  }
  showAge();
  setTimeout(look, EVERY_MS);
}

$("stage").addEventListener("change", (event) => { stage = event.target.value; showCurves(); });
$("all").addEventListener("change", showCurves);
look();
