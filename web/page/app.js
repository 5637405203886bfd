// The page: photos in, answers shown. Everything that computes is in worker.js.

import * as camera from "./camera.js";
import { element, fill, nameHeads, picture } from "./cards.js";
import { install } from "./install.js";
import { dropped, isPhoto, named } from "./intake.js";
import { MAX_PIXELS } from "./pixels.js";
import { note } from "./render.js";
import { csv, download, line, rows } from "./save.js";

const MOST_CARDS = 100; // that are shown; what is saved has all

const at = (id) => document.getElementById(id);
const controls = ["files", "folder", "camera", "capture"].map(at);
let worker, specs, number = 0, stopped = false, working = false;
const waiting = new Map();
const results = { lines: [], rows: [] };

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
  worker = new Worker(`worker.js${window.location.search}`, { type: "module" });
  worker.onmessage = hear;
  worker.onerror = () => fail("The network could not be started: reload the page, or try another browser.");
  const begun = performance.now();
  let loaded;
  try {
    loaded = await ask();
  } catch (err) {
    fail(`The network could not be loaded (${err.message}): reload the page, or export it again.`);
    return;
  }
  specs = loaded.specs;
  describe(loaded);
  at("status").textContent = `Ready after ${((performance.now() - begun) / 1000).toFixed(1)} s.`;
  open();
  document.body.dataset.ready = "true";
  document.body.dataset.engine = loaded.engine;
  document.body.dataset.threads = loaded.threads;
  at("kept").textContent = await install(() => working || results.lines.length > 0, () => { at("renewed").hidden = false; });
  document.body.dataset.kept = Boolean(at("kept").textContent);
}

// What the page is made of, in words.
function describe({ engine, threads }) {
  const names = nameHeads(specs).join(", ");
  const models = specs.map(({ backbone, precision, resolution }) => `${backbone.name}, ${precision}, ${resolution} px`);
  at("about").textContent = `${models.join("; ")}. Answers: ${names}.`;
  const words = { wasm: "WebAssembly", webgpu: "the graphics processor (WebGPU)" };
  const used = engine.split(" and ").map((name) => words[name]).join(" and ");
  at("engine").textContent = `It is computed by ${used}${threads > 1 ? `, in ${threads} threads` : ", in one thread"}.`;
  specs.forEach(({ heads, card }, place) => {
    const link = element("a", specs.length > 1 ? `Model card of ${heads.map(({ title }) => title).join(", ")}` : "Model card");
    link.href = card;
    at("cards").append(...(place > 0 ? [" · "] : []), link);
  });
  at("cards").append(": data, figures, limits, licence.");
}

function open() {
  for (const control of controls) control.disabled = false;
  at("camera").hidden = !camera.hasCamera();
  at("capture-button").hidden = camera.hasCamera();
  at("folder-button").hidden = !("webkitdirectory" in at("folder"));
  at("crops-line").hidden = !specs.some(({ faces }) => faces);
  explain();
}

function explain() {
  at("notes").textContent = specs.flatMap((spec) => (
    spec.heads.map((head) => note(head, Boolean(spec.faces) && !at("crops").checked))
  )).filter(Boolean).join(" ");
}

// Refuses what cannot be decoded before it takes the memory for it.
async function check(file) {
  const image = new Image(), url = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = () => reject(new Error("not a photo that this browser can read"));
      image.src = url;
    });
    if (image.naturalWidth * image.naturalHeight > MAX_PIXELS) {
      throw new Error(`${image.naturalWidth} x ${image.naturalHeight} pixels, above the limit of ${MAX_PIXELS}; make a smaller copy`);
    }
  } finally {
    image.removeAttribute("src");
    URL.revokeObjectURL(url);
  }
}

async function show({ file, name }) {
  const card = element("article");
  card.append(element("h2", name));
  at("results").prepend(card);
  while (at("results").childElementCount > MOST_CARDS) at("results").lastElementChild.remove();
  try {
    await check(file);
    const { answers, size, times, thumbnail } = await ask(file, at("crops").checked);
    const frame = element("div", undefined, "photo");
    frame.append(picture(thumbnail, name));
    card.prepend(frame);
    const parts = fill(card, frame, specs, answers, size, name);
    const verb = answers.some(({ faces }) => faces) ? "Read and searched" : "Read";
    card.append(element("p", `${verb} in ${times.read.toFixed(0)} ms, network ${times.network.toFixed(1)} ms.`, "times"));
    card.dataset.network = times.network;
    card.dataset.state = "done";
    results.lines.push(line(name, parts));
    results.rows.push(...rows(name, parts));
    return true;
  } catch (err) {
    card.append(element("p", `${name}: ${err.message}`, "error"));
    card.dataset.state = "error";
    results.lines.push({ path: name, error: err.message });
    results.rows.push({ path: name, error: err.message });
    return false;
  }
}

async function take(photos) {
  if (specs === undefined || working) return;
  at("problem").hidden = true;
  if (photos.length === 0) {
    at("status").textContent = "No photo in it.";
    return;
  }
  [working, stopped] = [true, false];
  at("progress").hidden = photos.length < 2;
  let good = 0, done = 0;
  for (const photo of photos) {
    at("status").textContent = photos.length === 1 ? "Looking at the photo …" : `Looking at ${photos.length} photos …`;
    good += await show(photo);
    done += 1;
    at("bar").value = done / photos.length;
    if (stopped) break;
  }
  working = false;
  at("progress").hidden = true;
  at("saving").hidden = false;
  const bad = done - good, left = photos.length - done;
  at("status").textContent = `${good} answered${bad ? `, ${bad} could not be read` : ""}${left ? `, ${left} left out` : ""}.${
    results.lines.length > MOST_CARDS ? ` The last ${MOST_CARDS} are shown; what is saved has all ${results.lines.length}.` : ""}`;
}

async function lookOut(on) {
  try {
    if (on) await camera.open(at("video")); else camera.close(at("video"));
    at("live").hidden = !on;
    at(on ? "shoot" : "camera").focus();
  } catch (err) {
    fail(camera.why(err));
  }
}

function clear() {
  at("results").replaceChildren();
  [results.lines, results.rows] = [[], []];
  at("saving").hidden = true;
  at("status").textContent = "Cleared.";
  at("files").focus();
}

for (const input of ["files", "folder", "capture"].map(at)) {
  input.addEventListener("change", () => {
    const photos = [...input.files].map(named);
    take(input.id === "folder" ? photos.filter(isPhoto) : photos);
    input.value = "";
  });
}
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") dropped(event.dataTransfer).then(take, (err) => fail(`The folder cannot be read (${err.message}).`));
  });
}
at("crops").addEventListener("change", explain);
at("camera").addEventListener("click", () => lookOut(true));
at("camera-off").addEventListener("click", () => lookOut(false));
at("shoot").addEventListener("click", async () => {
  try {
    take([named(await camera.photo(at("video")))]);
  } catch (err) {
    fail(err.message);
  }
});
at("stop").addEventListener("click", () => { stopped = true; });
at("clear").addEventListener("click", clear);
at("reload").addEventListener("click", () => window.location.reload());
at("save-csv").addEventListener("click", () => download("answers.csv", "text/csv", csv(results.rows)));
at("save-json").addEventListener("click", () => download("answers.jsonl", "application/x-ndjson", `${results.lines.map((one) => JSON.stringify(one)).join("\n")}\n`));
document.addEventListener("paste", (event) => {
  const photos = [...event.clipboardData.files].map(named);
  if (photos.length > 0) take(photos);
});
start();
