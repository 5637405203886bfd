// What computes: the graphics processor where the browser lends one, else WebAssembly, in threads where it may.

const MOST_THREADS = 4; // more do not help networks of this size
const ROUNDS = 3; // that choose between two engines
const TOLERANCE = 1e-3; // of the greatest output, between the two

const WASM = "./ort/ort.wasm.bundle.min.mjs", WEBGPU = "./ort/ort.webgpu.bundle.min.mjs";
const BINARIES = { wasm: "./ort/ort-wasm-simd-threaded.wasm", webgpu: "./ort/ort-wasm-simd-threaded.asyncify.wasm" };

const engines = {};

async function engine(name, threads) {
  if (engines[name] === undefined) {
    const ort = await import(name === "webgpu" ? WEBGPU : WASM);
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmPaths = { wasm: new URL(BINARIES[name], import.meta.url).href };
    ort.env.logLevel = "error";
    engines[name] = ort;
  }
  return engines[name];
}

// How many threads there may be: one, unless the server isolates the page (or sw.js does).
export function threads(wanted) {
  if (!globalThis.crossOriginIsolated) return 1;
  return Math.max(1, wanted ?? Math.min(MOST_THREADS, navigator.hardwareConcurrency ?? 1));
}

// Whether a graphics processor may be tried: `asked` is "wasm", "webgpu" or null for whatever serves. One that
// software plays is not, unless it is asked for.
export async function graphics(asked) {
  if (asked === "wasm") return false;
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (!adapter) return false;
  return asked === "webgpu" || !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false);
}

// A network that is ready: `run({name: [type, data, dims]})` gives {name: {data, dims}}; `release()` frees it.
export async function network(bytes, name, count) {
  const ort = await engine(name, count);
  const session = await ort.InferenceSession.create(bytes, { executionProviders: [name] });
  const run = async (inputs) => {
    const given = Object.entries(inputs).map(([key, [type, data, dims]]) => [key, new ort.Tensor(type, data, dims)]);
    const made = await session.run(Object.fromEntries(given));
    for (const [, tensor] of given) tensor.dispose();
    return Object.fromEntries(Object.entries(made).map(([key, { data, dims }]) => [key, { data, dims }]));
  };
  return { name, run, release: () => session.release() };
}

// The faster of two networks that are warm, by the least of some runs each; the other is freed.
export async function faster(one, other, inputs) {
  const least = [Infinity, Infinity];
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [place, { run }] of [one, other].entries()) {
      const begun = performance.now();
      await run(inputs);
      least[place] = Math.min(least[place], performance.now() - begun);
    }
  }
  const [kept, freed] = least[0] <= least[1] ? [one, other] : [other, one];
  await freed.release();
  return kept;
}

// Whether two engines gave the same for the same photo; of numbers alone, as two boxes that tie may change places.
export function same(one, other) {
  return Object.keys(one).every((name) => {
    const [left, right] = [one[name].data, other[name].data];
    if (!(left instanceof Float32Array)) return true;
    const most = left.reduce((sofar, value) => Math.max(sofar, Math.abs(value)), 1);
    return left.length === right.length && left.every((value, at) => Math.abs(value - right[at]) <= TOLERANCE * most);
  });
}
