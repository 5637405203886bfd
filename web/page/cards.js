// A photo's card: what each model says of it, as parts of the page and as plain values.

import { READERS } from "./answers.js";
import { RENDERERS, frames, thumbnail } from "./render.js";
import { plain } from "./save.js";

const TOP = 5; // classes and cells

export function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name !== undefined) made.className = name;
  return made;
}

// Names that no two heads of the page share: dogs, dogs-2.
export function nameHeads(specs) {
  const taken = new Set();
  for (const head of specs.flatMap(({ heads }) => heads)) {
    let title = head.name;
    for (let number = 2; taken.has(title); number += 1) title = `${head.name}-${number}`;
    taken.add(title);
    head.title = title;
  }
  return [...taken];
}

// The photo as it was looked at, small.
export function picture(bitmap, name) {
  const canvas = element("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `The photo ${name}`);
  canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
  return canvas;
}

// Fills a card with what the models say; gives the same as plain values for `save.js`.
export function fill(card, frame, specs, answers, size, name) {
  const several = specs.flatMap(({ heads }) => heads).length > 1;
  return answers.map(({ outputs, faces }, at) => {
    const spec = specs[at], heads = spec.heads.map(({ title }) => title);
    if (faces !== undefined) return { heads, faces: ofFaces(card, frame, spec, faces, size, name) };
    const { parts, values } = told(spec, outputs, { size, name, frame, aligned: false }, several && "h3");
    card.append(...parts);
    return { heads, answers: values };
  });
}

// Each head's answer, under its name in a heading where one is given.
function told(spec, outputs, context, heading) {
  const parts = [], values = {};
  for (const head of spec.heads) {
    const answer = READERS[head.kind](head, outputs, TOP, context.size);
    if (heading) parts.push(element(heading, head.title));
    parts.push(...RENDERERS[head.kind](answer, { head, ...context }));
    values[head.title] = plain(head.kind, answer);
  }
  return { parts, values };
}

function ofFaces(card, frame, spec, faces, size, file) {
  if (faces.length === 0) card.append(element("p", "No face found. If the photo is a face crop, tick the box above and add it again."));
  if (faces.length > 0) frame.append(frames(faces.map(({ box }) => box), size));
  return faces.map(({ box, crop, outputs }, index) => {
    const part = element("section", undefined, "face"), name = `Face ${index + 1}`;
    part.dataset.box = box;
    const head = element("h3", name);
    head.prepend(thumbnail(crop, spec.resolution));
    const { parts, values } = told(
      spec, outputs, { size, name: `${name.toLowerCase()} of ${file}`, frame, aligned: true }, spec.heads.length > 1 && "h4",
    );
    part.append(head, ...parts);
    card.append(part);
    return { box, answers: values };
  });
}
