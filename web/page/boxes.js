// Which of overlapping boxes stay.

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
