// Answers as files: JSON lines as `predict` writes them, and one table.

const DIGITS = 1e6;
export const COLUMNS = ["path", "head", "face", "rank", "name", "probability", "unknown", "lat", "lon", "x1", "y1", "x2", "y2", "error"];

const round = (value) => Math.round(value * DIGITS) / DIGITS;

// The answer of a head as plain values.
const PLAIN = {
  classes: ({ predictions, unknown }) => ({ predictions: predictions.map(({ name, probability }) => ({ name, probability: round(probability) })), unknown }),
  attributes: (answer) => answer,
  cells: (cells) => ({ cells }),
  embedding: (answer) => answer,
  detections: ({ objects }) => ({ objects }),
};

export function plain(kind, answer) {
  return PLAIN[kind](answer);
}

// The line of a photo: its only head's answer, or one by name; of faces a list.
export function line(path, parts) {
  const faces = parts.find((part) => part.faces);
  if (parts.length === 1 && faces === undefined) return { path, ...only(parts[0].answers) };
  if (parts.length === 1) return { path, faces: faces.faces.map(({ box, answers }, at) => ({ face: at, box, ...only(answers) })) };
  const answers = {};
  for (const part of parts) {
    if (part.faces === undefined) Object.assign(answers, part.answers);
    else for (const head of part.heads) answers[head] = { faces: part.faces.map(({ box, answers: given }, at) => ({ face: at, box, ...given[head] })) };
  }
  return { path, answers };
}

function only(answers) {
  const names = Object.keys(answers);
  return names.length === 1 ? answers[names[0]] : { answers };
}

// Rows of the table: one an answer, with what its kind has.
export function rows(path, parts) {
  return parts.flatMap((part) => {
    if (part.faces === undefined) return Object.entries(part.answers).flatMap(([head, answer]) => ofHead({ path, head }, answer));
    return part.faces.flatMap(({ box, answers }, face) => (
      Object.entries(answers).flatMap(([head, answer]) => ofHead({ path, head, face, ...corners(box) }, answer))
    ));
  });
}

const corners = ([x1, y1, x2, y2]) => ({ x1, y1, x2, y2 });

function ofHead(place, { predictions, unknown, cells, objects, attributes, values }) {
  if (predictions) return predictions.map((one, at) => ({ ...place, rank: at + 1, ...one, unknown }));
  if (cells) return cells.map((one, at) => ({ ...place, rank: at + 1, ...one }));
  if (objects) return objects.length ? objects.map(({ name, score, box }, at) => ({ ...place, rank: at + 1, name, probability: score, ...corners(box) })) : [place];
  if (attributes) {
    const yes = Object.entries(attributes).map(([name, { probability }]) => ({ ...place, name, probability }));
    return [...yes, ...Object.entries(values).map(([name, value]) => ({ ...place, name: `${name}: ${value.toFixed(1)}` }))];
  }
  return [place];
}

export function csv(all) {
  const lines = all.map((row) => COLUMNS.map((name) => cell(row[name])).join(","));
  return `${[COLUMNS.join(","), ...lines].join("\r\n")}\r\n`;
}

function cell(value) {
  const text = value === undefined || value === null ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// Hands a file to the person; it goes nowhere else.
export function download(name, type, text) {
  const link = document.createElement("a"), url = URL.createObjectURL(new Blob([text], { type }));
  [link.href, link.download] = [url, name];
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
