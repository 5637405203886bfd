// The page: photos in, answers shown. Everything that computes is in worker.js.

import { READERS } from "./answers.js";
import { MAX_PIXELS } from "./pixels.js";
import { RENDERERS, frames, note, thumbnail } from "./render.js";

const at = (id) => document.getElementById(id);
const inputs = [at("files"), at("camera")];
let worker, spec, number = 0;
const waiting = new Map();

function fail(text) {
  at("problem").textContent = text;
  at("problem").hidden = false;
  at("status").textContent = "";
}

function ask(file, crops) {
  return new Promise((resolve, reject) => {
    number += 1;
    waiting.set(number, { resolve, reject });
    worker.postMessage({ id: number, file, crops });
  });
}

function hear({ data: { id, error, ...values } }) {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error === undefined) resolve(values); else reject(new Error(error));
}

function runsWasm() {
  try {
    return new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)) instanceof WebAssembly.Module;
  } catch {
    return false;
  }
}

async function start() {
  if (!runsWasm()) {
    fail("WebAssembly is blocked in this browser, and the network needs it. Allow it for this page (in Edge: “Enhance your web security”; in iOS: Lockdown Mode), or answer with: python cli.py predict PHOTO --model model.onnx");
    return;
  }
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = hear;
  worker.onerror = () => fail("The network could not be started: reload the page, or try another browser.");
  const begun = performance.now();
  try {
    ({ spec } = await ask());
  } catch (err) {
    fail(`The network could not be loaded (${err.message}): reload the page, or export it again.`);
    return;
  }
  const names = spec.heads.map((head) => head.name).join(", ");
  at("about").textContent = `${spec.backbone.name}, ${spec.precision}, ${spec.resolution} px. Answers: ${names}.`;
  at("status").textContent = `Ready after ${((performance.now() - begun) / 1000).toFixed(1)} s.`;
  for (const input of inputs) input.disabled = false;
  at("crops-line").hidden = !spec.faces;
  explain();
  document.body.dataset.ready = "true";
}

function explain() {
  const aligned = Boolean(spec.faces) && !at("crops").checked;
  at("notes").textContent = spec.heads.map((head) => note(head, aligned)).join(" ");
}

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name !== undefined) made.className = name;
  return made;
}

async function preview(file) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  await new Promise((resolve, reject) => {
    image.onload = resolve;
    image.onerror = () => reject(new Error("not a photo that this browser can read"));
  });
  const pixels = image.naturalWidth * image.naturalHeight;
  if (pixels > MAX_PIXELS) {
    throw new Error(`${image.naturalWidth} x ${image.naturalHeight} pixels, above the limit of ${MAX_PIXELS}; make a smaller copy`);
  }
  image.alt = `The photo ${file.name}`;
  return image;
}

// What each head says, as parts of the page.
function told(outputs, size, name, frame, aligned = false) {
  return spec.heads.flatMap((head) => {
    const answer = READERS[head.kind](head, outputs, 5, size);
    const title = spec.heads.length > 1 ? [element("h4", head.name)] : [];
    return [...title, ...RENDERERS[head.kind](answer, { head, frame, size, name, aligned })];
  });
}

function tellFaces(faces, size, file, card, frame) {
  if (faces.length === 0) card.append(element("p", "No face found. If the photo is a face crop, tick the box above and add it again."));
  if (faces.length > 0) frame.append(frames(faces.map(({ box }) => box), size));
  faces.forEach(({ box, crop, outputs }, index) => {
    const part = element("section", undefined, "face"), name = `Face ${index + 1}`;
    part.dataset.box = box;
    const head = element("h3", name);
    head.prepend(thumbnail(crop, spec.resolution));
    part.append(head, ...told(outputs, size, `${name.toLowerCase()} of ${file.name}`, frame, true));
    card.append(part);
  });
}

async function show(file) {
  const card = element("article");
  card.append(element("h2", file.name));
  at("results").prepend(card);
  let image;
  try {
    image = await preview(file);
    const { outputs, faces, size, times } = await ask(file, at("crops").checked);
    const frame = element("div", undefined, "photo");
    frame.append(image);
    card.prepend(frame);
    if (faces === undefined) card.append(...told(outputs, size, file.name, frame));
    else tellFaces(faces, size, file, card, frame);
    card.append(element("p", `${faces === undefined ? "Read" : "Read and searched"} in ${times.read.toFixed(0)} ms, network ${times.network.toFixed(1)} ms.`, "times"));
    card.dataset.network = times.network;
    card.dataset.state = "done";
    return true;
  } catch (err) {
    card.append(element("p", `${file.name}: ${err.message}`, "error"));
    card.dataset.state = "error";
    return false;
  } finally {
    if (image !== undefined) image.decode().catch(() => {}).finally(() => URL.revokeObjectURL(image.src));
  }
}

async function take(files) {
  if (spec === undefined || files.length === 0) return;
  at("problem").hidden = true;
  at("status").textContent = files.length === 1 ? "Looking at the photo …" : `Looking at ${files.length} photos …`;
  let good = 0;
  for (const file of files) good += await show(file);
  const bad = files.length - good;
  at("status").textContent = `${good} answered${bad ? `, ${bad} could not be read` : ""}.`;
}

for (const input of inputs) {
  input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
}
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take([...event.dataTransfer.files]);
  });
}
at("crops").addEventListener("change", explain);
document.addEventListener("paste", (event) => take([...event.clipboardData.files]));
start();
