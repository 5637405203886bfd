// The network, away from the page's own thread, so that the page stays quick while it computes.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";
import { aligned } from "./align.js";
import { find } from "./faces.js";
import { planes, square } from "./pixels.js";
import { sealed } from "./seal.js";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL("./ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.logLevel = "error";

let session = null, spec = null;
const finders = {}; // the networks that find faces, where the model answers for faces

async function start() {
  const answer = await fetch("model.json");
  if (!answer.ok) throw new Error(`model.json: the server answered ${answer.status}`);
  spec = await answer.json();
  session = await load("model");
  if (spec.faces) for (const name of ["pnet", "rnet", "onet"]) finders[name] = await load(name);
  const side = spec.resolution;
  await run(new Uint8Array(side * side * 3)); // the first run is slow; nobody should wait for it twice
  return { spec };
}

async function load(name) {
  const answer = await fetch(`${name}.onnx`);
  if (!answer.ok) throw new Error(`${name}.onnx: the server answered ${answer.status}`);
  const bytes = await sealed(`${name}.onnx`, new Uint8Array(await answer.arrayBuffer()));
  return ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
}

async function finder(name, data, dims) {
  const x = new ort.Tensor("float32", data, dims), made = await finders[name].run({ x });
  x.dispose();
  return made;
}

async function run(pixels) {
  const side = spec.resolution, nhwc = spec.layout === "nhwc";
  const shape = nhwc ? [1, side, side, 3] : [1, 3, side, side];
  const images = new ort.Tensor("uint8", nhwc ? pixels : planes(pixels, side), shape);
  const made = await session.run({ images });
  images.dispose();
  return Object.fromEntries(Object.entries(made).map(([name, tensor]) => [name, { data: tensor.data, dims: tensor.dims }]));
}

// Each face of a photo: where it is, how it looks to the network, and what the network says.
async function faces(bitmap) {
  const found = await find(bitmap, spec.faces, finder), answers = [];
  for (const { box, score, points } of found) {
    const crop = aligned(bitmap, points, spec.faces.template, spec.resolution), begun = performance.now();
    answers.push({ box, score, crop, outputs: await run(crop), network: performance.now() - begun });
  }
  return answers;
}

async function answer(file, crops) {
  const begun = performance.now();
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  } catch {
    throw new Error("not a photo that this browser can read, or too large for its memory");
  }
  const size = [bitmap.width, bitmap.height];
  let pixels;
  try {
    if (spec.faces && !crops) {
      const found = await faces(bitmap), network = found.reduce((sum, one) => sum + one.network, 0);
      return { faces: found, size, times: { read: performance.now() - begun - network, network } };
    }
    pixels = square(bitmap, spec.resolution, spec.crop, spec.resize);
  } finally {
    bitmap.close();
  }
  const read = performance.now();
  const outputs = await run(pixels);
  return { outputs, size, times: { read: read - begun, network: performance.now() - read } };
}

let last = Promise.resolve(); // one photo at a time, in order

self.onmessage = ({ data: { id, file, crops } }) => {
  last = last.then(async () => {
    try {
      self.postMessage({ id, ...(file === undefined ? await start() : await answer(file, crops)) });
    } catch (err) {
      self.postMessage({ id, error: err instanceof Error ? err.message : String(err) });
    }
  });
};
