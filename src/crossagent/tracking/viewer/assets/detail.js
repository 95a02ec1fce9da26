// One trajectory, turn by turn, and the members of its group side by side.
const view = { row: null, members: [], member: null, turn: 0, mode: "mask", compare: false, token: -1, wholePrompt: false, promptOpen: false };

const hintOf = (turn) => (turn.invalid ? "!" : turn.error ? "×" : "");

function showHead() {
  const { row, member } = view;
  const facts = [
    ["ending", member.failure ? `${row.ending}: ${member.failure}` : row.ending],
    ["turns", member.turns.length],
    ["ticks", row.ticks],
    ["Σ λ·cost", number(row.cost)],
    ["J = success − Σ λ·cost", number(row.return)],
    ["group", `${row.group}, member ${row.member} of ${view.members.length}`],
    ["world", [member.env, `seed ${member.seed}`].filter(Boolean).join(", ")],
  ];
  fill(
    $("head"),
    el("h2", {}, el("span", { class: row.success ? "mark good" : "mark bad" }, outcomeWord(row.success)), ` ${row.task} `, el("code", {}, row.name)),
    row.instruction ? el("p", {}, row.instruction) : null,
    el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))))),
  );
}

function showScrubber() {
  const turns = view.member.turns;
  const slider = $("turn");
  slider.max = Math.max(0, longest() - 1);
  slider.value = view.turn;
  slider.disabled = longest() < 2;
  const turn = turns[view.turn];
  const text = `turn ${view.turn + 1} of ${longest()}`;
  slider.setAttribute("aria-valuetext", turn?.space ? `${text}, space ${turn.space}` : text);
  $("where").textContent = text;
  $("previous").disabled = view.turn <= 0;
  $("next").disabled = view.turn >= longest() - 1;
  const spaces = [...view.member.spaces, null];
  fill($("strip"), turns.map((one, k) => el("span", {
    class: `tick s${Math.max(0, spaces.indexOf(one.space)) % 4}${k === view.turn ? " now" : ""}`,
    title: `turn ${k + 1}: ${one.space ?? "no space"}${one.invalid ? ", invalid" : one.error ? ", failed" : ""}`, onclick: () => goTo(k),
  }, (one.space ?? "–").slice(0, 1) + hintOf(one))));
  // Not scrollIntoView: it would also move where Tab goes on from.
  const now = $("strip").querySelector(".now");
  if (now) $("strip").scrollLeft = now.offsetLeft - $("strip").offsetLeft - $("strip").clientWidth / 2;
}

const longest = () => (view.compare ? Math.max(...view.members.map((m) => m.turns.length)) : view.member.turns.length);

// The observation: its image, or its text with the words that the turn before did not show.
function scene(member, k, label = "Observation") {
  const turn = member.turns[k];
  const before = new Set((k > 0 ? member.turns[k - 1].observation : turn.observation).split(/\s+/));
  const words = turn.observation.split(/(\s+)/).map((part) => (/\S/.test(part) && !before.has(part) ? el("mark", {}, part) : part));
  return el(
    "section", { class: "panel scene", "aria-label": label },
    el("h3", {}, label),
    turn.image === null ? null : el("img", { src: imageSource(turn.image), alt: `What the policy saw before turn ${k + 1}` }),
    el("pre", {}, words.length ? words : "(nothing)"),
    k > 0 ? el("p", { class: "dim" }, "Marked: words that the turn before did not show.") : null,
  );
}

// The chosen space, its probability against the others, and what the group's members chose at this turn.
function choice(member, k) {
  const turn = member.turns[k];
  const peers = view.members.filter((m) => m.turns.length > k);
  const share = (space) => peers.filter((m) => m.turns[k].space === space).length / peers.length;
  const known = turn.choice.length === member.spaces.length && turn.choice.length > 0;
  const p = (space, i) => {
    if (known) return turn.choice[i] === null ? 0 : Math.exp(turn.choice[i]);
    return space === turn.space && !turn.forced && turn.logprobs[0] != null ? Math.exp(turn.logprobs[0]) : null;
  };
  const rows = member.spaces.map((space, i) => [space, p(space, i), share(space)]);
  if (known || share(null)) rows.push([null, known ? Math.max(0, 1 - rows.reduce((sum, row) => sum + row[1], 0)) : null, share(null)]);
  const bar = (value) => el("td", {}, el("span", { class: "bar", style: { width: `${100 * (value ?? 0)}%` } }), ` ${percent(value)}`);
  const note = turn.forced
    ? "One space is allowed: its header was given, so nothing was chosen."
    : known
      ? "Probability: of the header's first token, as the response was sampled."
      : turn.response.length ? "Only the chosen opening's probability was stored." : "No model: nothing was sampled.";
  return el(
    "section", { class: "panel", "aria-label": "Choice of space" },
    el("h3", {}, "Space ", el("b", {}, turn.space ?? "none")),
    el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "space"), el("th", { scope: "col" }, "probability"), el("th", { scope: "col" }, peers.length > 1 ? `share of ${peers.length} members` : "share"))),
      el("tbody", {}, rows.map(([space, value, part]) => el("tr", { class: space === turn.space ? "chosen" : null },
        el("th", { scope: "row" }, space ?? "none of them", space === turn.space ? el("span", {}, " ◀ chosen") : null), bar(value), bar(part))))),
    el("p", { class: "dim" }, note),
  );
}

function outcome(turn, compact = false) {
  const what = turn.invalid ? `invalid: ${turn.invalid}` : turn.error ? `failed: ${turn.error}` : "done";
  const list = [
    ["outcome", el("b", { class: turn.invalid || turn.error ? "bad" : "good" }, what)],
    ["ticks", turn.ticks],
    ["reward", number(turn.reward)],
    ["cost", number(turn.cost)],
    ["λ·cost", number(turn.cost * (index.weights[turn.space] ?? 0))],
    ["advantage", turn.advantage === null ? "–" : number(turn.advantage)],
  ];
  if (turn.events.length) list.push(["events", turn.events.map(([kind, name, count]) => `${kind} ${name}${count === 1 ? "" : ` ×${count}`}`).join(", ")]);
  if (turn.payload !== null && !compact) list.push(["action", el("code", {}, turn.payload)]);
  return el(
    "section", { class: "panel", "aria-label": "Outcome" }, compact ? null : el("h3", {}, "Outcome"),
    el("dl", { class: "facts" }, list.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value instanceof Node ? value : String(value))))),
  );
}

// Why the chosen colouring has nothing to show here, if so.
function missing(turn) {
  const some = turn.response.some((_, k) => facts(turn, k)[view.mode] !== null);
  return some ? null : el("p", { class: "note" }, turn.response.length ? ABSENT[view.mode] : "No tokens: an expert wrote this turn.");
}

function response(turn, texts, pick) {
  return turn.response.length
    ? el("p", { class: "tokens", "aria-label": `Response: ${turn.text}` }, responseNodes(turn, texts, view.mode, pick))
    : el("p", { class: "tokens" }, turn.text);
}

async function paint() {
  const { member, row } = view;
  const texts = await loadTexts();
  if (view.member !== member) return;
  showHead();
  showScrubber();
  showLegend(view.mode);
  document.body.classList.toggle("numbers", $("numbers").checked);
  $("compare").setAttribute("aria-pressed", String(view.compare));
  $("compare").disabled = view.members.length < 2;
  $("single").hidden = view.compare;
  $("group").hidden = !view.compare;
  $("token").textContent = "";
  if (view.compare) paintGroup(texts);
  else paintSingle(texts);
  history.replaceState(null, "", `#${encodeURIComponent(row.name)}@${view.turn + 1}`);
}

function paintSingle(texts) {
  const { member } = view;
  const turn = member.turns[view.turn];
  if (!turn) {
    fill($("single"), el("p", { class: "panel note" }, "This trajectory has no turns: its world broke before the first one."));
    return;
  }
  const prompt = el("details", { class: "panel", open: view.promptOpen },
    el("summary", {}, `Prompt, ${plural(turn.prompt.length, "token")}`));
  const fillPrompt = () => {
    const hidden = view.wholePrompt ? 0 : Math.max(0, turn.prompt.length - PROMPT_SHOWN);
    fill(prompt, prompt.firstChild,
      hidden ? el("button", { type: "button", onclick: () => { view.wholePrompt = true; fillPrompt(); } }, `Show the first ${hidden} tokens`) : null,
      el("p", { class: "tokens" }, promptNodes(turn, texts, view.mode, view.wholePrompt)));
  };
  if (view.promptOpen) fillPrompt();
  prompt.addEventListener("toggle", () => {
    if (prompt.open && !view.promptOpen) fillPrompt();
    view.promptOpen = prompt.open;
  });
  fill(
    $("single"),
    el("section", { class: "panel", id: "response", "aria-label": "Response" },
      el("h3", {}, "Response, ", plural(turn.response.length, "token"), turn.finish === "length" ? ", cut at the limit" : ""),
      response(turn, texts, pickToken), missing(turn)),
    el("div", { class: "columns" }, scene(member, view.turn), el("div", {}, choice(member, view.turn), outcome(turn))),
    prompt,
  );
  if (view.token >= 0) pickToken(Math.min(view.token, turn.response.length - 1));
}

function paintGroup(texts) {
  fill($("group"), view.members.map((member) => {
    const row = index.rows.find((r) => r.name === member.name);
    const turn = member.turns[view.turn];
    const own = member === view.member;
    return el("section", { class: own ? "member own" : "member", "aria-label": `Member ${row.member}` },
      el("h3", {}, el("span", { class: row.success ? "mark good" : "mark bad" }, outcomeWord(row.success)), ` member ${row.member}`, own ? " (chosen)" : ""),
      el("p", { class: "dim" }, `${row.ending}, ${plural(member.turns.length, "turn")}, J ${number(row.return)}`),
      turn ? [
        el("p", {}, "Space ", el("b", {}, turn.space ?? "none"), hintOf(turn) ? ` ${hintOf(turn)}` : ""),
        response(turn, texts, null), missing(turn), outcome(turn, true), scene(member, view.turn),
      ] : el("p", { class: "note" }, `Ended after turn ${member.turns.length}.`));
  }));
}

function pickToken(k) {
  const turn = view.member.turns[view.turn];
  if (view.compare || !turn?.response.length) return;
  view.token = Math.min(turn.response.length - 1, Math.max(0, k));
  for (const node of document.querySelectorAll("#response .t.picked")) node.classList.remove("picked");
  const node = document.querySelector(`#response .t[data-k="${view.token}"]`);
  node?.classList.add("picked");
  node?.scrollIntoView({ block: "nearest" });
  const id = turn.response[view.token];
  loadTexts().then((all) => { $("token").textContent = `Token ${view.token + 1} of ${turn.response.length}: ${describe(id, all[id] ?? `⟨${id}⟩`, facts(turn, view.token))}`; });
}

async function open(i, turn) {
  const row = index.rows[i];
  view.row = row;
  const members = await loadGroup(row.chunk);
  if (view.row !== row) return; // chosen on in the meantime
  Object.assign(view, { members, member: members.find((m) => m.name === row.name), token: -1, wholePrompt: false });
  view.turn = Math.max(0, Math.min(turn, longest() - 1));
  await paint();
}

function goTo(turn) {
  const next = Math.max(0, Math.min(turn, longest() - 1));
  if (!view.member || next === view.turn) return;
  view.turn = next;
  view.wholePrompt = false;
  paint();
}
