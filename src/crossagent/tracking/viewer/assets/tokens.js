// A token on screen: its text with blanks made visible, a class per step of the chosen scale, its numbers on demand.
// Each step has an underline of its own beside its colour, and the number is a click or a key away.
const SCALES = {
  mask: [
    ["m0", "prompt: read, not written"],
    ["m1", "given: a forced header"],
    ["m2", "sampled, not trained"],
    ["m3", "sampled and trained"],
  ],
  logprob: [
    ["l0", "p ≥ 95 %"],
    ["l1", "≥ 50 %"],
    ["l2", "≥ 10 %"],
    ["l3", "≥ 1 %"],
    ["l4", "below 1 %"],
  ],
  advantage: [
    ["a4", "≥ 0.5: made likelier"],
    ["a3", "> 0.05"],
    ["a2", "about 0"],
    ["a1", "< −0.05"],
    ["a0", "≤ −0.5: made less likely"],
  ],
  kl: [
    ["k0", "< 0.001"],
    ["k1", "< 0.01"],
    ["k2", "< 0.1"],
    ["k3", "< 1"],
    ["k4", "≥ 1: far from the reference"],
  ],
};
const ABSENT = {
  logprob: "This response has no log-probs.",
  advantage: "Nothing trained on this turn: an evaluation, a failure, or a group that teaches nothing.",
  kl: "No KL: nothing trained on this turn, or the stage has no reference policy (kl_coef is 0).",
};
const SIGNS = { "\n": "⏎", "\t": "⇥", "\r": "␍", "\u001f": "⁀" }; // the last: the scratch tokenizers' mark for no space here
const INVISIBLE = /[\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]/g;

// Blanks and control characters as signs; those that would reorder or hide text as their code.
function visible(text) {
  return text.replace(/ /g, "·").replace(INVISIBLE, (c) => {
    const code = c.codePointAt(0);
    return SIGNS[c] ?? `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

// What is known of response token k of a turn.
function facts(turn, k) {
  const given = k < turn.forced;
  const trained = Boolean(turn.trains?.[k]);
  const old = trained && turn.old?.length ? turn.old[k] : null;
  const ref = trained && turn.ref?.length ? turn.ref[k] : null;
  const gap = old === null || ref === null ? null : ref - old;
  return {
    mask: given ? 1 : trained ? 3 : 2,
    logprob: given ? null : (turn.logprobs[k] ?? null),
    advantage: trained ? turn.advantage : null,
    kl: gap === null ? null : Math.max(0, Math.exp(Math.min(gap, 20)) - 1 - gap), // k3, as the loss has it
    old,
    ref,
  };
}

function step(mode, known) {
  const value = known[mode];
  if (mode === "mask") return SCALES.mask[value][0];
  if (value === null) return null;
  if (mode === "logprob") return `l${[-0.0513, -0.6932, -2.3026, -4.6052].filter((edge) => value < edge).length}`;
  if (mode === "advantage") return value >= 0.5 ? "a4" : value > 0.05 ? "a3" : value >= -0.05 ? "a2" : value > -0.5 ? "a1" : "a0";
  return `k${[0.001, 0.01, 0.1, 1].filter((edge) => value >= edge).length}`;
}

const shortNumber = (mode, known) => (mode === "mask" ? "" : known[mode] === null ? "" : number(known[mode], 2));

function describe(id, text, known) {
  const parts = [`“${visible(text)}” (id ${id})`, SCALES.mask[known.mask][1]];
  if (known.logprob !== null) parts.push(`log-prob ${number(known.logprob)} (p ${percent(Math.exp(known.logprob))})`);
  if (known.advantage !== null) parts.push(`advantage ${number(known.advantage)}`);
  if (known.old !== null) parts.push(`in training: log-prob ${number(known.old)}`);
  if (known.kl !== null) parts.push(`reference ${number(known.ref)}, KL ${number(known.kl, 4)}`);
  return parts.join(" · ");
}

function tokenNode(id, texts, known, mode, properties = {}) {
  const text = texts[id] ?? `⟨${id}⟩`;
  const value = mode === "mask" ? null : shortNumber(mode, known);
  const node = el("span", { class: `t ${step(mode, known) ?? "no"}`, "data-n": value || null, title: describe(id, text, known), ...properties }, visible(text));
  return text.includes("\n") ? [node, el("br")] : [node];
}

function responseNodes(turn, texts, mode, pick) {
  return turn.response.flatMap((id, k) =>
    tokenNode(id, texts, facts(turn, k), mode, { "data-k": k, onclick: pick ? () => pick(k) : null }),
  );
}

const PROMPT_SHOWN = 1500;

// The prompt's last tokens at once, the others when they are asked for.
function promptNodes(turn, texts, mode, all) {
  const known = { mask: 0, logprob: null, advantage: null, kl: null, old: null, ref: null };
  const from = all ? 0 : Math.max(0, turn.prompt.length - PROMPT_SHOWN);
  return turn.prompt.slice(from).flatMap((id) => tokenNode(id, texts, known, mode));
}

function showLegend(mode) {
  fill($("legend"), SCALES[mode].map(([name, text]) => el("li", {}, el("span", { class: `t ${name}` }, "word"), ` ${text}`)));
}
