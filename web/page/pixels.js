// Photos as the network's input: the pixels that Pillow's bilinear resize gives, so that the answers are
// those of Python. Photos are read in strips, so that a large one needs little memory beside its decoded self.

export const MAX_PIXELS = 178_956_970;
const MAX_ASPECT = 8;
const STRIP_PIXELS = 4_000_000;

// The part of a photo that is seen, in its own pixels: {x, y, width, height}, as apps/export/photos.py has it.
export function seen(width, height, resolution, crop) {
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

// For each output place the first source place and the weights of a triangle filter, low to high - 1.
export function filters(start, length, out, low, high) {
  const scale = length / out, reach = Math.max(scale, 1), found = [];
  for (let place = 0; place < out; place += 1) {
    const centre = start + (place + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - reach + 0.5), low);
    const end = Math.min(Math.trunc(centre + reach + 0.5), high);
    const weights = new Float64Array(end - first);
    let total = 0;
    for (let k = first; k < end; k += 1) {
      const weight = Math.max(0, 1 - Math.abs((k - centre + 0.5) / reach));
      weights[k - first] = weight;
      total += weight;
    }
    for (let k = 0; k < weights.length; k += 1) weights[k] /= total;
    found.push({ first, weights });
  }
  return found;
}

// (resolution, resolution, 3) bytes of a decoded photo.
export function square(bitmap, resolution, crop) {
  const part = seen(bitmap.width, bitmap.height, resolution, crop), edge = part.bounds;
  const across = filters(part.x, part.width, resolution, edge.x0, edge.x1);
  const down = filters(part.y, part.height, resolution, edge.y0, edge.y1);
  const x0 = across[0].first, last = across[resolution - 1];
  const y0 = down[0].first, end = down[resolution - 1];
  const width = last.first + last.weights.length - x0, height = end.first + end.weights.length - y0;
  const rows = narrowed(bitmap, { x0, y0, width, height }, across);
  return shortened(rows, y0, down, resolution);
}

function narrowed(bitmap, { x0, y0, width, height }, across) {
  const out = across.length, rows = new Uint8ClampedArray(height * out * 3);
  const strip = Math.max(1, Math.min(height, Math.floor(STRIP_PIXELS / width)));
  const canvas = new OffscreenCanvas(width, strip);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null) throw new Error("this device has no room for a photo of that size");
  for (let top = 0; top < height; top += strip) {
    const count = Math.min(strip, height - top);
    context.fillStyle = "#fff"; // what shows through a transparent photo, as in Python
    context.fillRect(0, 0, width, count);
    context.drawImage(bitmap, x0, y0 + top, width, count, 0, 0, width, count);
    const { data } = context.getImageData(0, 0, width, count);
    for (let y = 0; y < count; y += 1) narrowRow(data, y * width * 4, x0, across, rows, (top + y) * out * 3);
  }
  return rows;
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
    rows[to] = Math.floor(red + 0.5);
    rows[to + 1] = Math.floor(green + 0.5);
    rows[to + 2] = Math.floor(blue + 0.5);
    to += 3;
  }
}

function shortened(rows, y0, down, resolution) {
  const line = resolution * 3, pixels = new Uint8Array(resolution * line);
  down.forEach(({ first, weights }, y) => {
    for (let x = 0; x < line; x += 1) {
      let sum = 0;
      for (let k = 0; k < weights.length; k += 1) sum += weights[k] * rows[(first - y0 + k) * line + x];
      pixels[y * line + x] = Math.min(255, Math.floor(sum + 0.5));
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
