// The networks, away from the page's own thread, so that the page stays quick while they compute.

import { aligned } from "./align.js";
import { faster, graphics, network, same, threads } from "./engine.js";
import { find } from "./faces.js";
import { planes, square } from "./pixels.js";
import { sealed } from "./seal.js";
import { upright } from "./webp.js";

const FINDERS = ["pnet", "rnet", "onet"];
const READ = { colorSpaceConversion: "none", imageOrientation: "from-image", premultiplyAlpha: "none" };
const LARGE = 8e6; // bytes of a model from which on threads save time; in smaller ones they wait for each other
const THUMBNAIL_PX = 640;
const asked = new URL(self.location.href).searchParams;

const models = []; // {spec, run}
const finders = {}; // the networks that find faces, where a model answers for faces
let count = 1;

async function json(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: the server answered ${answer.status}`);
  return answer.json();
}

async function bytes(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: the server answered ${answer.status}`);
  return sealed(name, new Uint8Array(await answer.arrayBuffer()));
}

async function start() {
  const { models: stems } = await json("models.json");
  const parts = await Promise.all(stems.map((stem) => Promise.all([json(`${stem}.json`), bytes(`${stem}.onnx`)])));
  const large = parts.some(([, file]) => file.length >= LARGE);
  count = asked.has("threads") ? threads(Number(asked.get("threads"))) : threads(large ? undefined : 1);
  const tried = await graphics(asked.get("engine"));
  const used = new Set();
  for (const [spec, file] of parts) {
    const { name, run } = await ready(spec, file, tried);
    used.add(name);
    models.push({ spec, run });
  }
  if (models.some(({ spec }) => spec.faces)) {
    for (const name of FINDERS) finders[name] = (await network(await bytes(`${name}.onnx`), "wasm", count)).run;
  }
  return { specs: models.map(({ spec }) => spec), engine: [...used].join(" and "), threads: count };
}

// WebAssembly, or the graphics processor where it answers the same and is the faster one: drivers may compute
// wrongly, and a small network may take longer on its way there than it takes to compute.
async function ready(spec, file, tried) {
  const side = spec.resolution, trial = Uint8Array.from({ length: side * side * 3 }, (_, at) => (at * 97) % 251);
  const plain = await network(file, "wasm", count), answer = await plain.run(input(spec, trial));
  // The first run is slow; nobody should wait for it twice. Bytes are what a processor multiplies best.
  if (!tried || spec.precision === "int8") return plain;
  try {
    const other = await network(file, "webgpu", count);
    if (!same(answer, await other.run(input(spec, trial)))) return plain;
    return asked.get("engine") === "webgpu" ? other : await faster(other, plain, input(spec, trial));
  } catch {
    return plain;
  }
}

function input(spec, pixels) {
  const side = spec.resolution, nhwc = spec.layout === "nhwc";
  return { images: ["uint8", nhwc ? pixels : planes(pixels, side), nhwc ? [1, side, side, 3] : [1, 3, side, side]] };
}

// Each face of a photo: where it is, how it looks to the network, and what the network says.
async function faces(bitmap, { spec, run }) {
  const finder = (name, data, dims) => finders[name]({ x: ["float32", data, dims] });
  const found = await find(bitmap, spec.faces, finder), answers = [];
  for (const { box, score, points } of found) {
    const crop = aligned(bitmap, points, spec.faces.template, spec.resolution), begun = performance.now();
    answers.push({ box, score, crop, outputs: await run(input(spec, crop)), network: performance.now() - begun });
  }
  return answers;
}

// What a model says of a photo, and how long the network took of it.
async function say(bitmap, model, crops) {
  if (model.spec.faces && !crops) {
    const found = await faces(bitmap, model);
    return { faces: found, network: found.reduce((sum, one) => sum + one.network, 0) };
  }
  const { resolution, crop, resize } = model.spec, pixels = square(bitmap, resolution, crop, resize);
  const begun = performance.now(), outputs = await model.run(input(model.spec, pixels));
  return { outputs, network: performance.now() - begun };
}

async function answer(file, crops) {
  const begun = performance.now();
  let bitmap, thumbnail;
  try {
    bitmap = await upright(file, await createImageBitmap(file, READ));
  } catch {
    throw new Error("not a photo that this browser can read, or too large for its memory");
  }
  try {
    const size = [bitmap.width, bitmap.height], answers = [];
    for (const model of models) answers.push(await say(bitmap, model, crops));
    const spent = answers.reduce((sum, one) => sum + one.network, 0);
    const times = { read: performance.now() - begun - spent, network: spent };
    thumbnail = await small(bitmap);
    return { answers, size, times, thumbnail };
  } finally {
    if (bitmap !== thumbnail) bitmap.close();
  }
}

// A copy that a card shows, so that many photos need little memory.
async function small(bitmap) {
  const factor = THUMBNAIL_PX / Math.max(bitmap.width, bitmap.height);
  if (factor >= 1) return bitmap;
  const [resizeWidth, resizeHeight] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * factor)));
  return createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "medium" });
}

let last = Promise.resolve(); // one photo at a time, in order

self.onmessage = ({ data: { id, file, crops } }) => {
  last = last.then(async () => {
    try {
      const values = await (file === undefined ? start() : answer(file, crops));
      self.postMessage({ id, ...values }, values.thumbnail ? [values.thumbnail] : []);
    } catch (err) {
      self.postMessage({ id, error: err instanceof Error ? err.message : String(err) });
    }
  });
};
