// Faces by MTCNN's cascade of three networks, as facenet-pytorch runs it for `embed-faces`: proposals on a
// pyramid of copies, refined twice. (Zhang et al. 2016, "Joint face detection and alignment".)

import { best } from "./boxes.js";
import { resized, whole } from "./pixels.js";

const STRIDE = 2, CELL = 12; // of the proposal network
const OVERLAP_OF_A_COPY = 0.5, OVERLAP = 0.7;
const BATCH = 128;

// The faces of a photo, largest first: [{box, score, points}] in pixels of the photo, points as [x, y].
// `run(network, data, dims)` gives the outputs of a network by name.
export async function find(bitmap, told, run) {
  const picture = copy(bitmap, told.search_px), least = Math.min(told.min_face_px, picture.width, picture.height);
  if (least < told.least_px) return [];
  let boxes = await proposed(picture, least, told, run);
  boxes = (await scored(picture, boxes, "rnet", 24, told.thresholds[1], run));
  boxes = kept(boxes, OVERLAP).map((one) => squared({ ...one, box: moved(one.box, one.moves) }));
  boxes = (await scored(picture, boxes, "onet", 48, told.thresholds[2], run)).map(
    (one) => ({ ...one, points: placed(one.box, one.points), box: moved(one.box, one.moves) }),
  );
  return kept(boxes, OVERLAP, ofSmaller).filter((one) => one.score >= told.min_probability)
    .map((one) => grown(one, picture)).filter(({ box: [x1, y1, x2, y2] }) => x2 - x1 >= 1 && y2 - y1 >= 1)
    .sort((one, other) => side(other.box) - side(one.box) || one.box[0] - other.box[0]);
}

function copy(bitmap, most) {
  const factor = Math.max(1, Math.max(bitmap.width, bitmap.height) / most);
  const [width, height] = [bitmap.width, bitmap.height].map((length) => Math.max(1, Math.round(length / factor)));
  return { width, height, factor, pixels: resized(bitmap, whole(bitmap.width, bitmap.height), width, height) };
}

async function proposed(picture, least, told, run) {
  const found = [];
  let scale = CELL / least;
  for (let short = Math.min(picture.width, picture.height) * scale; short >= CELL; short *= told.factor) {
    const wide = Math.trunc(picture.width * scale + 1), high = Math.trunc(picture.height * scale + 1);
    const data = shrunk(picture, [0, 0, picture.width, picture.height], wide, high);
    const { moves, chances } = await run("pnet", data, [1, 3, high, wide]);
    found.push(...kept(cells(moves, chances, scale, told.thresholds[0]), OVERLAP_OF_A_COPY));
    scale *= told.factor;
  }
  return kept(found, OVERLAP).map(({ box: [x1, y1, x2, y2], score, moves: [left, top, right, low] }) => {
    const [w, h] = [x2 - x1, y2 - y1];
    return squared({ score, box: [x1 + left * w, y1 + top * h, x2 + right * w, y2 + low * h] });
  });
}

// Places of the proposal network's maps (1, 2, H, W) and (1, 4, H, W) that may show a face.
function cells(moves, chances, scale, least) {
  const [, , high, wide] = chances.dims, area = high * wide, found = [], step = Math.fround(scale);
  for (let place = 0; place < area; place += 1) {
    const score = chances.data[area + place];
    if (score < least) continue;
    const corner = [STRIDE * (place % wide), STRIDE * Math.floor(place / wide)];
    const low = corner.map((at) => Math.floor(Math.fround((at + 1) / step)));
    const high = corner.map((at) => Math.floor(Math.fround((at + CELL) / step)));
    found.push({ box: [...low, ...high], score, moves: [0, 1, 2, 3].map((n) => moves.data[n * area + place]) });
  }
  return found;
}

// Those of the boxes that the refining network takes for faces, with what it says of them.
async function scored(picture, boxes, network, size, least, run) {
  const cut = boxes.map((one) => ({ ...one, part: inside(one.box, picture) })).filter(
    ({ part: [x0, y0, x1, y1] }) => x1 > x0 && y1 > y0,
  );
  const found = [];
  for (let first = 0; first < cut.length; first += BATCH) {
    const some = cut.slice(first, first + BATCH), each = 3 * size * size;
    const data = new Float32Array(some.length * each);
    some.forEach(({ part }, place) => data.set(shrunk(picture, part, size, size), place * each));
    const { moves, points, chances } = await run(network, data, [some.length, 3, size, size]);
    some.forEach(({ box }, n) => {
      const score = chances.data[2 * n + 1];
      if (score <= least) return;
      const told = { box, score, moves: moves.data.slice(4 * n, 4 * n + 4) };
      if (points !== undefined) told.points = points.data.slice(10 * n, 10 * n + 10);
      found.push(told);
    });
  }
  return found;
}

// The part of the picture that a box names, counting pixels from 1 as the networks were trained to.
function inside(box, { width, height }) {
  const [x1, y1, x2, y2] = box.map(Math.trunc);
  return [Math.max(x1, 1) - 1, Math.max(y1, 1) - 1, Math.min(x2, width), Math.min(y2, height)];
}

function moved([x1, y1, x2, y2], [left, top, right, low]) {
  const w = x2 - x1 + 1, h = y2 - y1 + 1;
  return [x1 + left * w, y1 + top * h, x2 + right * w, y2 + low * h];
}

function placed([x1, y1, x2, y2], points) {
  const w = x2 - x1 + 1, h = y2 - y1 + 1;
  return [0, 1, 2, 3, 4].map((n) => [w * points[n] + x1 - 1, h * points[n + 5] + y1 - 1]);
}

function squared(one) {
  const [x1, y1, x2, y2] = one.box, w = x2 - x1, h = y2 - y1, long = Math.max(w, h);
  const left = x1 + w * 0.5 - long * 0.5, top = y1 + h * 0.5 - long * 0.5;
  return { ...one, box: [left, top, left + long, top + long] };
}

// The best of boxes that overlap.
function kept(boxes, overlap, covered) {
  const order = [...boxes].sort((one, other) => other.score - one.score);
  const stays = best(order.map((one) => one.box), overlap, covered);
  return order.filter((_, place) => stays[place]);
}

function ofSmaller(one, other) {
  const wide = Math.min(one[2], other[2]) - Math.max(one[0], other[0]) + 1;
  const high = Math.min(one[3], other[3]) - Math.max(one[1], other[1]) + 1;
  const area = ([x1, y1, x2, y2]) => (x2 - x1 + 1) * (y2 - y1 + 1);
  return Math.max(wide, 0) * Math.max(high, 0) / Math.min(area(one), area(other));
}

function side([x1, y1, x2, y2]) {
  return Math.min(x2 - x1, y2 - y1);
}

// In pixels of the photo, the box inside it.
function grown({ box: [x1, y1, x2, y2], score, points }, { width, height, factor }) {
  const box = [Math.max(x1, 0), Math.max(y1, 0), Math.min(x2, width), Math.min(y2, height)];
  return { box: box.map((at) => at * factor), score, points: points.map((point) => point.map((at) => at * factor)) };
}

// A part [x0, y0, x1, y1] of the picture by area means, -1 to 1, channels first.
function shrunk({ pixels, width }, [x0, y0, x1, y1], wide, high) {
  const across = bins(x1 - x0, wide), down = bins(y1 - y0, high), rows = new Float64Array((y1 - y0) * wide * 3);
  for (let y = y0, to = 0; y < y1; y += 1) {
    for (const [first, end] of across) {
      let red = 0, green = 0, blue = 0;
      for (let from = 3 * (y * width + x0 + first), last = from + 3 * (end - first); from < last; from += 3) {
        red += pixels[from];
        green += pixels[from + 1];
        blue += pixels[from + 2];
      }
      const count = end - first;
      rows[to] = red / count;
      rows[to + 1] = green / count;
      rows[to + 2] = blue / count;
      to += 3;
    }
  }
  const out = new Float32Array(3 * wide * high), line = 3 * wide;
  down.forEach(([first, end], y) => {
    for (let x = 0; x < line; x += 1) {
      let sum = 0;
      for (let row = first; row < end; row += 1) sum += rows[row * line + x];
      out[(x % 3) * wide * high + y * wide + Math.floor(x / 3)] = (sum / (end - first) - 127.5) / 128;
    }
  });
  return out;
}

function bins(length, out) {
  return Array.from({ length: out }, (_, n) => [Math.floor(n * length / out), Math.ceil((n + 1) * length / out)]);
}
