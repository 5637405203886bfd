// Answers as parts of the page. A kind of head is a line in RENDERERS.

function make(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name !== undefined) made.className = name;
  return made;
}

export function bars(rows) {
  const list = make("ol");
  for (const { name, probability } of rows) {
    const row = make("li"), bar = make("span", undefined, "bar");
    bar.style.width = `${100 * probability}%`;
    row.dataset.name = name;
    row.dataset.probability = probability;
    row.append(bar, make("span", name), make("span", `${(100 * probability).toFixed(1)} %`));
    list.append(row);
  }
  return list;
}

function classes({ predictions, unknown }) {
  const parts = unknown ? [make("p", "It may be none of the things that the network knows.", "unknown")] : [];
  return [...parts, bars(predictions)];
}

let before = null; // the last photo's vector, to compare with

function embedding({ embedding: vector }, { file }) {
  const parts = [];
  if (before === null) {
    parts.push(make("p", "Add a second photo to compare the two."));
  } else {
    const cosine = vector.reduce((sum, value, index) => sum + value * before.vector[index], 0);
    const line = make("p", `Likeness to ${before.name}: ${cosine.toFixed(3)} (1 is the same).`);
    line.dataset.cosine = cosine;
    parts.push(line);
  }
  before = { vector, name: file.name };
  return parts;
}

// A map of the earth with a spot for each likely cell; the list beside it says the same in words.
function drawn(kind, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

let land = null;

function cells(likely) {
  const map = drawn("svg", { viewBox: "0 0 360 180", class: "map", role: "img", "aria-label": "Map of the likeliest places" });
  const ground = drawn("path", { class: "land" });
  land ??= fetch("land.json").then((answer) => answer.json());
  land.then((path) => ground.setAttribute("d", path));
  map.append(ground);
  for (const { lat, lon, probability } of [...likely].reverse()) {
    map.append(drawn("circle", { class: "spot", cx: lon + 180, cy: 90 - lat, r: 2 + 6 * Math.sqrt(probability) }));
  }
  return [map, bars(likely)];
}

export const RENDERERS = { classes, cells, embedding };
