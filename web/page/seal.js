// The sum that an ONNX file carries of its own bytes: apps/engine/inference/seal.py writes it.

const KEY = "content_sha256", DIGITS = 64, REACH = 1 << 16;

// The bytes of a file as they came; throws in one line where they are others than its sum says.
// A file without a sum passes, and so does every file where the browser computes none: away from localhost and https.
export async function sealed(name, bytes, subtle = globalThis.crypto?.subtle) {
  const at = place(bytes);
  if (at < 0 || !subtle) return bytes;
  const written = new TextDecoder().decode(bytes.subarray(at, at + DIGITS)), plain = bytes.slice();
  plain.fill(0x30, at, at + DIGITS); // the sum was taken with zeros in its own place
  const sum = new Uint8Array(await subtle.digest("SHA-256", plain));
  const digits = [...sum].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (digits !== written) {
    throw new Error(`${name} is damaged: it holds other bytes than its sum says; export the page or copy the file again.`);
  }
  return bytes;
}

// Where the digits begin: after the last mark, which is near the end; -1 where there is none.
function place(bytes) {
  const mark = [...new TextEncoder().encode(KEY), 0x12, DIGITS];
  for (let at = bytes.length - mark.length; at >= Math.max(bytes.length - REACH, 0); at--) {
    if (mark.every((byte, i) => bytes[at + i] === byte)) return at + mark.length;
  }
  return -1;
}
