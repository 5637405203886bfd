// The device's camera, in the page: a moving picture, and photos of it.

const QUALITY = 0.95; // of the JPEG that a photo becomes

export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

// Shows the camera in a <video>; the one at the back of a phone where there is one.
export async function open(video) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { facingMode: "environment", width: { ideal: 1920 } } });
  video.srcObject = stream;
  await video.play();
}

export function close(video) {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}

// What the camera sees now, as a file.
export async function photo(video) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", QUALITY); });
  if (blob === null) throw new Error("the camera gave no picture; try again");
  const now = new Date(), stamp = now.toISOString().replace(/[:.]/g, "-").slice(0, 19);
  return new File([blob], `camera-${stamp}.jpg`, { type: "image/jpeg", lastModified: now.getTime() });
}

// Why there is no camera, in words for the person.
export function why(err) {
  if (err.name === "NotAllowedError") return "The camera was not allowed: allow it for this page in the browser's settings, or choose photos.";
  if (err.name === "NotFoundError") return "This device has no camera: choose photos instead.";
  return `The camera does not start (${err.message}): choose photos instead.`;
}
