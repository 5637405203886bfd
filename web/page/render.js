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

function attributes({ attributes: found, values }) {
  const rows = Object.entries(found).map(([name, one]) => ({ ...one, name }));
  const list = bars(rows);
  rows.forEach(({ decision, threshold }, index) => {
    const row = list.children[index];
    row.dataset.decision = decision;
    row.lastChild.textContent = `${decision ? "yes" : "no"}, ${row.lastChild.textContent}`;
    const mark = make("span", undefined, "mark"); // where yes begins
    mark.style.left = `${100 * threshold}%`;
    row.append(mark);
  });
  for (const [name, value] of Object.entries(values)) {
    const row = make("li");
    row.dataset.name = name;
    row.dataset.value = value;
    row.append(make("span", name), make("span", `about ${value.toFixed(1)}`));
    list.append(row);
  }
  return [list];
}

const known = []; // vectors that later ones are compared with
const MOST_KNOWN = 200, LIKEST = 3;
const USUAL_RATE = "1e-3"; // of false accepts, as verify-faces takes it

// From which cosine two are taken for one person, and how often two people reach it, as far as the run measured
// that: at the usual rate, else at the rarest; faces found are aligned.
function threshold(head, aligned) {
  const measured = head.calibration.faces?.[aligned ? "five-point" : "none"]?.thresholds ?? {};
  const rate = USUAL_RATE in measured ? USUAL_RATE : Object.keys(measured).sort((one, other) => one - other)[0];
  return { least: measured[rate], rate: Number(rate) };
}

function embedding({ embedding: vector }, { head, name, aligned }) {
  const { least } = threshold(head, aligned), parts = [];
  const likeness = known.filter((one) => one.head === head.title).map((one) => (
    { name: one.name, cosine: vector.reduce((sum, value, index) => sum + value * one.vector[index], 0) }
  )).sort((one, other) => other.cosine - one.cosine).slice(0, LIKEST);
  if (likeness.length === 0) parts.push(make("p", "Add another photo to compare the two."));
  const list = make("ul", undefined, "likeness");
  for (const { name: other, cosine } of likeness) {
    const verdict = least === undefined ? "" : cosine >= least ? ", taken for one person" : ", taken for two people";
    const row = make("li", `Likeness to ${other}: ${cosine.toFixed(3)}${verdict}`);
    row.dataset.cosine = cosine;
    row.dataset.other = other;
    list.append(row);
  }
  if (likeness.length > 0) parts.push(list);
  known.push({ head: head.title, name, vector });
  if (known.length > MOST_KNOWN) known.shift();
  return parts;
}

// What holds for all answers of a head, told once.
export function note(head, aligned) {
  const whole = head.of_faces && !aligned ? `For ${head.title} the photo is taken for a face crop. ` : "";
  return whole + meaning(head, aligned);
}

function meaning(head, aligned) {
  if (head.kind === "attributes") return "The mark on a bar is where yes begins.";
  if (head.kind !== "embedding") return "";
  const { least, rate } = threshold(head, aligned);
  if (least === undefined) return "Likeness is a cosine, 1 at most. The run measured no threshold for faces cut out in this way.";
  return `Likeness is a cosine, 1 at most. From ${least.toFixed(3)} two are taken for one person; of pairs of different people 1 in ${Math.round(1 / rate)} reaches that.`;
}

// A crop as the network sees it.
export function thumbnail(pixels, side) {
  const canvas = make("canvas", undefined, "thumbnail"), image = new ImageData(side, side);
  for (let place = 0; place < side * side; place += 1) {
    image.data.set([pixels[3 * place], pixels[3 * place + 1], pixels[3 * place + 2], 255], 4 * place);
  }
  [canvas.width, canvas.height] = [side, side];
  canvas.setAttribute("aria-hidden", "true");
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// A map of the earth with a spot for each likely cell; the list beside it says the same in words.
function drawn(kind, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

let land = null;
const LEAST_DEGREES = 80; // of longitude that a map shows

// The part of the map that shows all spots, twice as wide as high: [x, y, width, height] of 360 x 180.
export function region(spots) {
  const [xs, ys] = [spots.map(({ lon }) => lon + 180), spots.map(({ lat }) => 90 - lat)];
  const span = (places) => Math.max(...places) - Math.min(...places);
  const width = Math.min(360, Math.max(LEAST_DEGREES, 1.6 * span(xs), 3.2 * span(ys))), height = width / 2;
  const start = (places, length, most) => {
    const middle = (Math.max(...places) + Math.min(...places)) / 2;
    return Math.min(Math.max(middle - length / 2, 0), most - length);
  };
  return [start(xs, width, 360), start(ys, height, 180), width, height];
}

function cells(likely) {
  const seen = region(likely), scale = seen[2] / 360;
  const map = drawn("svg", { viewBox: seen.join(" "), class: "map", role: "img", "aria-label": "Map of the likeliest places" });
  const ground = drawn("path", { class: "land" });
  land ??= fetch("land.json").then((answer) => answer.json());
  land.then((path) => ground.setAttribute("d", path));
  map.append(ground);
  for (const { lat, lon, probability } of [...likely].reverse()) {
    map.append(drawn("circle", { class: "spot", cx: lon + 180, cy: 90 - lat, r: scale * (3 + 9 * Math.sqrt(probability)) }));
  }
  return [map, bars(likely)];
}

// Frames over the photo, numbered as the list beside it, which says the same in words.
export function frames(boxes, [width, height]) {
  const layer = drawn("svg", { viewBox: `0 0 ${width} ${height}`, class: "frames", "aria-hidden": "true" });
  const size = Math.max(width, height) / 22;
  boxes.forEach(([x1, y1, x2, y2], index) => {
    layer.append(drawn("rect", { class: "frame", x: x1, y: y1, width: x2 - x1, height: y2 - y1 }));
    const words = String(index + 1), wide = size * (0.35 + 0.6 * words.length), top = Math.max(y1 - size, 0);
    layer.append(drawn("rect", { class: "tag", x: x1, y: top, width: wide, height: size }));
    const label = drawn("text", { class: "number", x: x1 + wide / 2, y: top + 0.8 * size, "font-size": 0.85 * size });
    label.textContent = words;
    layer.append(label);
  });
  return layer;
}

const MOST_OBJECTS = 20; // that a card lists

function detections({ objects: all }, { frame, size }) {
  const objects = all.slice(0, MOST_OBJECTS), more = all.length - objects.length;
  if (objects.length === 0) return [make("p", "No object found that the network knows.")];
  frame.append(frames(objects.map(({ box }) => box), size));
  const list = bars(objects.map(({ name, score }) => ({ name, probability: score })));
  objects.forEach(({ name, box: [x1, y1, x2, y2] }, index) => {
    const row = list.children[index];
    row.dataset.box = [x1, y1, x2, y2];
    row.children[1].textContent = `${index + 1} ${name}`;
    row.title = `from ${x1.toFixed(0)}, ${y1.toFixed(0)} to ${x2.toFixed(0)}, ${y2.toFixed(0)} pixels`;
  });
  return more ? [list, make("p", `and ${more} more.`)] : [list];
}

export const RENDERERS = { classes, attributes, cells, embedding, detections };
