// The network, away from the page's own thread, so that the page stays quick while it computes.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";
import { planes, square } from "./pixels.js";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL("./ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.logLevel = "error";

let session = null, spec = null;

async function start() {
  const answer = await fetch("model.json");
  if (!answer.ok) throw new Error(`model.json: the server answered ${answer.status}`);
  spec = await answer.json();
  session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  const side = spec.resolution;
  await run(new Uint8Array(side * side * 3)); // the first run is slow; nobody should wait for it twice
  return { spec };
}

async function run(pixels) {
  const side = spec.resolution, nhwc = spec.layout === "nhwc";
  const shape = nhwc ? [1, side, side, 3] : [1, 3, side, side];
  const images = new ort.Tensor("uint8", nhwc ? pixels : planes(pixels, side), shape);
  const made = await session.run({ images });
  images.dispose();
  return Object.fromEntries(Object.entries(made).map(([name, tensor]) => [name, { data: tensor.data, dims: tensor.dims }]));
}

async function answer(file) {
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
    pixels = square(bitmap, spec.resolution, spec.crop);
  } finally {
    bitmap.close();
  }
  const read = performance.now();
  const outputs = await run(pixels);
  return { outputs, size, times: { read: read - begun, network: performance.now() - read } };
}

let last = Promise.resolve(); // one photo at a time, in order

self.onmessage = ({ data: { id, file } }) => {
  last = last.then(async () => {
    try {
      self.postMessage({ id, ...(file === undefined ? await start() : await answer(file)) });
    } catch (err) {
      self.postMessage({ id, error: err instanceof Error ? err.message : String(err) });
    }
  });
};
