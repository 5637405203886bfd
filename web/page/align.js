// A face brought to one position by its five landmarks, to the pixels of apps/faces/extraction/align.py.

import { strips } from "./pixels.js";

const MARGIN = 3; // pixels beside a place that the cubic filter and rounding may look at

// (side, side, 3) bytes.
export function aligned(bitmap, points, template, side) {
  const goal = template.map(([x, y]) => [x * side, y * side]);
  let forward = similarity(points, goal);
  let factor = Math.trunc(1 / Math.hypot(forward.a, forward.b));
  if (factor > 1 && factor <= Math.min(bitmap.width, bitmap.height)) {
    forward = similarity(points.map(([x, y]) => [x / factor, y / factor]), goal);
  } else {
    factor = 1;
  }
  const back = inverse(forward), size = [bitmap.width, bitmap.height].map((length) => Math.ceil(length / factor));
  return warped(averaged(bitmap, looked(back, side, size), factor), back, size, side);
}

// The turn, scale and shift {a, b, x, y} that bring `from` closest to `to`: (a -b; b a) times a point, plus (x, y).
export function similarity(from, to) {
  const mean = (points, axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length;
  const [fx, fy, tx, ty] = [mean(from, 0), mean(from, 1), mean(to, 0), mean(to, 1)];
  let along = 0, across = 0, spread = 0;
  from.forEach(([x, y], n) => {
    const [dx, dy, gx, gy] = [x - fx, y - fy, to[n][0] - tx, to[n][1] - ty];
    along += dx * gx + dy * gy;
    across += dx * gy - dy * gx;
    spread += dx * dx + dy * dy;
  });
  const a = along / spread, b = across / spread;
  return { a, b, x: tx - a * fx + b * fy, y: ty - b * fx - a * fy };
}

function inverse({ a, b, x, y }) {
  const square = a * a + b * b;
  return (px, py) => [(a * (px - x) + b * (py - y)) / square, (a * (py - y) - b * (px - x)) / square];
}

// The part of the (reduced) photo that the crop shows.
function looked(back, side, [wide, high]) {
  const corners = [[0, 0], [side, 0], [0, side], [side, side]].map(([x, y]) => back(x, y));
  const span = (axis, most) => {
    const places = corners.map((corner) => corner[axis]);
    const low = Math.min(Math.max(Math.floor(Math.min(...places)) - MARGIN, 0), most - 1);
    return [low, Math.max(Math.min(Math.ceil(Math.max(...places)) + MARGIN, most), low + 1)];
  };
  const [x0, x1] = span(0, wide), [y0, y1] = span(1, high);
  return { x0, y0, width: x1 - x0, height: y1 - y0 };
}

// That part, each of its pixels the mean of factor x factor of the photo.
function averaged(bitmap, { x0, y0, width, height }, factor) {
  const pixels = new Uint8Array(width * height * 3);
  const part = {
    x0: x0 * factor, y0: y0 * factor,
    width: Math.min(width * factor, bitmap.width - x0 * factor), height: Math.min(height * factor, bitmap.height - y0 * factor),
  };
  strips(bitmap, part, factor, (data, top, count) => {
    for (let y = 0; y < count; y += factor) {
      for (let x = 0; x < part.width; x += factor) {
        const to = 3 * (((top + y) / factor) * width + x / factor);
        mean(data, part.width, x, y, Math.min(factor, part.width - x), Math.min(factor, count - y), pixels, to);
      }
    }
  });
  return { pixels, x0, y0, width, height };
}

function mean(data, stride, x, y, wide, high, pixels, to) {
  for (let channel = 0; channel < 3; channel += 1) {
    let sum = 0;
    for (let row = y; row < y + high; row += 1) {
      for (let column = x; column < x + wide; column += 1) sum += data[4 * (row * stride + column) + channel];
    }
    pixels[to + channel] = Math.floor(sum / (wide * high) + 0.5);
  }
}

// Cubic interpolation, as Pillow's `transform` does it; black outside of the photo.
function warped({ pixels, x0, y0, width, height }, back, [wide, high], side) {
  const out = new Uint8Array(side * side * 3), line = [0, 0, 0, 0];
  for (let y = 0, to = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1, to += 3) {
      const [px, py] = back(x + 0.5, y + 0.5);
      if (px < 0 || px >= wide || py < 0 || py >= high) continue;
      const left = Math.floor(px - 0.5), top = Math.floor(py - 0.5), dx = px - 0.5 - left, dy = py - 0.5 - top;
      const column = (n) => Math.min(Math.max(Math.min(Math.max(left + n, 0), wide - 1) - x0, 0), width - 1);
      const row = (n) => Math.min(Math.max(Math.min(Math.max(top + n, 0), high - 1) - y0, 0), height - 1);
      const columns = [column(-1), column(0), column(1), column(2)];
      for (let channel = 0; channel < 3; channel += 1) {
        for (let n = 0; n < 4; n += 1) {
          const from = row(n - 1) * width, at = (place) => pixels[3 * (from + columns[place]) + channel];
          line[n] = cubic(at(0), at(1), at(2), at(3), dx);
        }
        out[to + channel] = Math.min(Math.max(cubic(...line, dy), 0), 255);
      }
    }
  }
  return out;
}

function cubic(v1, v2, v3, v4, d) {
  return v2 + d * (v3 - v1 + d * (2 * (v1 - v2) + v3 - v4 + d * (v2 - v1 + v4 - v3)));
}
