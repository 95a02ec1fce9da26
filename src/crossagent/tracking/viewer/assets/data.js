// The page's data: an index that is read at once, and packed chunks (gzip in base64) that are read when they are shown.
const index = JSON.parse($("index").textContent);

function bytes(base64) {
  const binary = atob(base64);
  const out = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) out[i] = binary.charCodeAt(i);
  return out;
}

async function unpack(id) {
  const stream = new Blob([bytes($(id).textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const KEPT = 24;
const groups = new Map();

// The members of a group, each turn with its whole prompt.
function loadGroup(chunk) {
  let found = groups.get(chunk);
  if (!found) {
    found = unpack(`chunk-${chunk}`).then((members) => {
      for (const member of members) {
        let before = [];
        for (const turn of member.turns) {
          turn.prompt = before.slice(0, turn.shared).concat(turn.prompt);
          before = turn.prompt.concat(turn.response);
        }
      }
      return members;
    });
    if (groups.size >= KEPT) groups.delete(groups.keys().next().value);
    groups.set(chunk, found);
  }
  return found;
}

let texts = null;
const loadTexts = () => (texts ??= unpack("tokens"));
let saidTexts = null;
const loadSaid = () => (saidTexts ??= unpack("said").then((all) => all.map((text) => text.toLowerCase())));
const imageSource = (id) => `data:image/png;base64,${$(`image-${id}`).textContent}`;
