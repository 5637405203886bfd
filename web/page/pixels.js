// Photos as the network's input: the pixels that Pillow's bilinear resize gives, so that the answers are
// those of Python. Photos are read in strips, so that a large one needs little memory beside its decoded self.

export const MAX_PIXELS = 178_956_970;
const MAX_ASPECT = 8;
const STRIP_PIXELS = 4_000_000;
const ONE = 2 ** 22;
const GREY = 128; // beside a photo that is padded

// The part of a photo that is seen, in its own pixels: {x, y, width, height}, as apps/engine/inference/preprocess.py has it.
export function seen(width, height, resolution, crop, resize) {
  if (resize === "squash") return whole(width, height);
  let [x0, y0, w, h] = [0, 0, width, height];
  if (h > MAX_ASPECT * w) { y0 = Math.floor((h - MAX_ASPECT * w) / 2); h = MAX_ASPECT * w; }
  if (w > MAX_ASPECT * h) { x0 = Math.floor((w - MAX_ASPECT * h) / 2); w = MAX_ASPECT * h; }
  const side = Math.floor(resolution / crop), short = Math.min(w, h);
  const high = Math.floor(side * h / short), wide = Math.floor(side * w / short);
  const left = even((wide - resolution) / 2), top = even((high - resolution) / 2);
  return {
    x: x0 + left * w / wide, y: y0 + top * h / high,
    width: resolution * w / wide, height: resolution * h / high,
    bounds: { x0, y0, x1: x0 + w, y1: y0 + h },
  };
}

// Python's round: halves go to the even number.
function even(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

// For each output place the first source place and the weights of a triangle filter, in Pillow's whole numbers of
// which ONE is 1: the part from start to end of `size` places, as single-precision numbers; `shift` is added to places.
function filters(start, end, out, size, shift) {
  const from = Math.fround(start), scale = Math.fround(Math.fround(end) - from) / out, reach = Math.max(scale, 1);
  const found = [];
  for (let place = 0; place < out; place += 1) {
    const centre = from + (place + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const weights = new Float64Array(Math.min(Math.trunc(centre + reach + 0.5), size) - first);
    let total = 0;
    for (let k = 0; k < weights.length; k += 1) {
      weights[k] = Math.max(0, 1 - Math.abs((first + k - centre + 0.5) / reach));
      total += weights[k];
    }
    for (let k = 0; k < weights.length; k += 1) weights[k] = Math.floor(weights[k] / total * ONE + 0.5);
    found.push({ first: first + shift, weights });
  }
  return found;
}

// (resolution, resolution, 3) bytes of a decoded photo.
export function square(bitmap, resolution, crop, resize) {
  if (resize === "pad") return padded(bitmap, resolution);
  return resized(bitmap, seen(bitmap.width, bitmap.height, resolution, crop, resize), resolution, resolution);
}

// The whole photo at the top left, its shape kept; the rest is grey.
function padded(bitmap, side) {
  const { width, height } = bitmap, long = Math.max(width, height), pixels = new Uint8Array(3 * side * side).fill(GREY);
  const [wide, high] = [width, height].map((length) => Math.max(even(length * (side / long)), 1));
  const small = resized(bitmap, whole(width, height), wide, high);
  for (let y = 0; y < high; y += 1) pixels.set(small.subarray(3 * y * wide, 3 * (y + 1) * wide), 3 * y * side);
  return pixels;
}

// (high, wide, 3) bytes of a part of a photo.
export function resized(bitmap, { x, y, width, height, bounds }, wide, high) {
  const left = x - bounds.x0, top = y - bounds.y0, rows = bounds.y1 - bounds.y0;
  const across = filters(left, left + width, wide, bounds.x1 - bounds.x0, bounds.x0);
  const reach = Math.max(height / high, 1) + 1; // as apps/engine/inference/preprocess.py cuts the rows before they are shortened
  const first = Math.max(Math.floor(top - reach), 0), past = Math.min(Math.ceil(top + height + reach), rows);
  const down = filters(top - first, top + height - first, high, past - first, bounds.y0 + first);
  const x0 = across[0].first, last = across[wide - 1];
  const y0 = down[0].first, end = down[high - 1];
  const area = { x0, y0, width: last.first + last.weights.length - x0, height: end.first + end.weights.length - y0 };
  return shortened(narrowed(bitmap, area, across), y0, down, wide);
}

// The whole of a photo, for `seen` and `resized`.
export function whole(width, height) {
  return { x: 0, y: 0, width, height, bounds: { x0: 0, y0: 0, x1: width, y1: height } };
}

function narrowed(bitmap, area, across) {
  const out = across.length, rows = new Uint8ClampedArray(area.height * out * 3);
  strips(bitmap, area, 1, (data, top, count) => {
    for (let y = 0; y < count; y += 1) {
      narrowRow(data, y * area.width * 4, area.x0, across, rows, (top + y) * out * 3);
    }
  });
  return rows;
}

// Calls `use(data, top, count)` with RGBA bytes of `count` rows at a time, a multiple of `step` but for the last.
export function strips(bitmap, { x0, y0, width, height }, step, use) {
  const most = step * Math.max(1, Math.floor(STRIP_PIXELS / width / step)), strip = Math.min(height, most);
  const canvas = new OffscreenCanvas(width, strip);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null) throw new Error("this device has no room for a photo of that size");
  for (let top = 0; top < height; top += strip) {
    const count = Math.min(strip, height - top);
    context.fillStyle = "#fff"; // what shows through a transparent photo, as in Python
    context.fillRect(0, 0, width, count);
    context.drawImage(bitmap, x0, y0 + top, width, count, 0, 0, width, count);
    use(context.getImageData(0, 0, width, count).data, top, count);
  }
}

function narrowRow(data, base, x0, across, rows, to) {
  for (const { first, weights } of across) {
    let red = 0, green = 0, blue = 0, from = base + (first - x0) * 4;
    for (let k = 0; k < weights.length; k += 1, from += 4) {
      const weight = weights[k];
      red += weight * data[from];
      green += weight * data[from + 1];
      blue += weight * data[from + 2];
    }
    rows[to] = Math.floor(red / ONE + 0.5);
    rows[to + 1] = Math.floor(green / ONE + 0.5);
    rows[to + 2] = Math.floor(blue / ONE + 0.5);
    to += 3;
  }
}

function shortened(rows, y0, down, wide) {
  const line = wide * 3, pixels = new Uint8Array(down.length * line);
  down.forEach(({ first, weights }, y) => {
    for (let x = 0; x < line; x += 1) {
      let sum = 0;
      for (let k = 0; k < weights.length; k += 1) sum += weights[k] * rows[(first - y0 + k) * line + x];
      pixels[y * line + x] = Math.min(255, Math.floor(sum / ONE + 0.5));
    }
  });
  return pixels;
}

// NCHW of an NHWC photo.
export function planes(pixels, resolution) {
  const area = resolution * resolution, turned = new Uint8Array(pixels.length);
  for (let place = 0; place < area; place += 1) {
    for (let channel = 0; channel < 3; channel += 1) turned[channel * area + place] = pixels[place * 3 + channel];
  }
  return turned;
}
