// WebP held upright as EXIF says, in browsers that turn a JPEG and forget a WebP.

// Two pixels side by side that EXIF puts one above the other: what a browser makes of it shows what it knows.
const SAMPLE = "UklGRk4AAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4TA4AAAAvAQAAAAcQEf0PRET/A0VYSUYaAAAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAA=";
const ORIENTATION = 0x0112;

let knows; // whether the browser turns a WebP itself

async function turnsItself() {
  const bytes = Uint8Array.from(atob(SAMPLE), (sign) => sign.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/webp" }), { imageOrientation: "from-image" });
  return bitmap.width === 1;
}

// The bitmap of a file, turned where the browser has not done so.
export async function upright(file, bitmap) {
  const head = new DataView(await file.slice(0, 16).arrayBuffer());
  if (head.byteLength < 16 || text(head, 0) !== "RIFF" || text(head, 8) !== "WEBP") return bitmap;
  knows ??= turnsItself();
  if (await knows) return bitmap;
  const turn = orientation(new DataView(await file.arrayBuffer()));
  return turn > 1 && turn <= 8 ? turned(bitmap, turn) : bitmap;
}

const text = (view, at) => String.fromCharCode(...[0, 1, 2, 3].map((place) => view.getUint8(at + place)));

// EXIF's orientation of a WebP, 1 where it says none.
export function orientation(view) {
  for (let at = 12; at + 8 <= view.byteLength;) {
    const length = view.getUint32(at + 4, true);
    if (text(view, at) === "EXIF") return ofTiff(view, at + 8, Math.min(at + 8 + length, view.byteLength));
    at += 8 + length + (length % 2);
  }
  return 1;
}

function ofTiff(view, start, end) {
  let at = start;
  if (at + 6 <= end && text(view, at) === "Exif") at += 6;
  if (at + 8 > end) return 1;
  const little = view.getUint16(at) === 0x4949, first = at + view.getUint32(at + 4, little);
  if (first + 2 > end) return 1;
  for (let entry = first + 2, left = view.getUint16(first, little); left > 0 && entry + 12 <= end; entry += 12, left -= 1) {
    if (view.getUint16(entry, little) === ORIENTATION) return view.getUint16(entry + 8, little);
  }
  return 1;
}

// Where a pixel goes, by orientation: the matrix [a, b, c, d] of a canvas.
const MATRICES = { 2: [-1, 0, 0, 1], 3: [-1, 0, 0, -1], 4: [1, 0, 0, -1], 5: [0, 1, 1, 0], 6: [0, 1, -1, 0], 7: [0, -1, -1, 0], 8: [0, -1, 1, 0] };

function turned(bitmap, turn) {
  const { width, height } = bitmap, [a, b, c, d] = MATRICES[turn];
  const [wide, high] = turn > 4 ? [height, width] : [width, height];
  const canvas = new OffscreenCanvas(wide, high), context = canvas.getContext("2d");
  context.setTransform(a, b, c, d, a < 0 || c < 0 ? wide : 0, b < 0 || d < 0 ? high : 0);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.transferToImageBitmap();
}
