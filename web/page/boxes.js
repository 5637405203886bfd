// Boxes: which of them stay (the same rule as apps/engine/inference/decode/boxes.py), and their picture.

// Whether each of the boxes, best first, is covered by no better one that stays; each box is [x1, y1, x2, y2].
export function best(boxes, overlap, covered = union) {
  const kept = boxes.map(() => true);
  boxes.forEach((box, place) => {
    if (!kept[place]) return;
    for (let other = place + 1; other < boxes.length; other += 1) {
      if (kept[other] && covered(box, boxes[other]) > overlap) kept[other] = false;
    }
  });
  return kept;
}

function union(one, other) {
  const wide = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const high = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  if (wide <= 0 || high <= 0) return 0;
  const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
  return wide * high / (area(one) + area(other) - wide * high);
}

// The objects among all boxes of a detector: [{label, score, box}], best first, in pixels of the square.
export function suppressed(boxes, scores, told) {
  const classes = scores.length / (boxes.length / 4), found = [];
  for (let place = 0; place < scores.length; place += 1) {
    if (scores[place] > told.threshold) found.push(place);
  }
  found.sort((one, other) => scores[other] - scores[one]);
  const looked = found.slice(0, told.candidates).map((place) => {
    const from = 4 * Math.floor(place / classes);
    const box = Array.from(boxes.slice(from, from + 4), (value) => Math.min(Math.max(value, 0), told.size));
    return { label: place % classes, score: scores[place], box };
  });
  for (const label of new Set(looked.map((one) => one.label))) {
    const own = looked.filter((one) => one.label === label);
    best(own.map((one) => one.box), told.overlap).forEach((stays, place) => { own[place].stays = stays; });
  }
  return looked.filter((one) => one.stays).slice(0, told.most);
}
