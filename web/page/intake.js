// Photos out of what a person chooses, drops or pastes: files, and folders with all that is in them.

const SUFFIX = /\.(jpe?g|jfif|png|webp|avif|heic|heif|gif|bmp|tiff?|jp2)$/i;

// A file and the name that answers have for it: its path in the folder that was given.
export function named(file) {
  return { file, name: file.webkitRelativePath || file.name };
}

export function isPhoto({ file, name }) {
  return file.type.startsWith("image/") || SUFFIX.test(name);
}

// The photos of a drop; of folders only what is named as a photo. Must be called before the event is over.
export async function dropped(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.());
  if (entries.some((entry) => !entry)) return [...transfer.files].map(named);
  const photos = [];
  for (const entry of entries) {
    if (entry.isFile) photos.push({ file: await fileOf(entry), name: entry.name });
    else photos.push(...(await inside(entry)).filter(isPhoto));
  }
  return photos;
}

async function inside(folder) {
  const reader = folder.createReader(), all = [], files = [];
  for (;;) { // a reader gives a hundred at a time
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (some.length === 0) break;
    all.push(...some);
  }
  all.sort((one, other) => (one.name < other.name ? -1 : 1));
  for (const entry of all) {
    if (entry.isDirectory) files.push(...await inside(entry));
    else files.push({ file: await fileOf(entry), name: entry.fullPath.replace(/^\//, "") });
  }
  return files;
}

function fileOf(entry) {
  return new Promise((resolve, reject) => { entry.file(resolve, reject); });
}
