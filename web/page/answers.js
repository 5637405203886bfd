// A head's outputs as answers: the same sums as apps/engine/inference/decode/.

export function softmax(logits, temperature) {
  const scaled = Array.from(logits, (value) => value / temperature);
  const most = Math.max(...scaled), powers = scaled.map((value) => Math.exp(value - most));
  const total = powers.reduce((sum, value) => sum + value, 0);
  return powers.map((value) => value / total);
}

// Scores of apps/engine/evaluation/calibration.py: high for what the network knows.
const SCORES = {
  energy: (logits, t) => {
    const scaled = Array.from(logits, (value) => value / t), most = Math.max(...scaled);
    return t * (most + Math.log(scaled.reduce((sum, value) => sum + Math.exp(value - most), 0)));
  },
  known_share: (logits, t) => 1 - softmax(logits, t).at(-1), // the last stands for everything else
  max_logit: (logits) => Math.max(...logits),
  max_softmax: (logits, t) => Math.max(...softmax(logits, t)),
};

export function classes(head, outputs, top = 5) {
  const logits = outputs[head.outputs[0]].data, rule = head.calibration.unknown;
  const predictions = softmax(logits.slice(0, head.classes.length), head.calibration.temperature ?? 1)
    .map((probability, index) => ({ name: head.classes[index], probability }))
    .sort((one, other) => other.probability - one.probability).slice(0, top);
  const unknown = rule ? SCORES[rule.score](logits, rule.temperature ?? 1) < rule.threshold : null; // null: not calibrated
  return { predictions, unknown };
}

// Probability, threshold and decision of each attribute; the expected class of each group, such as an age.
export function attributes(head, outputs) {
  const logits = Array.from(outputs[head.outputs[0]].data), thresholds = head.calibration.thresholds ?? {};
  const answer = { attributes: {}, values: {} };
  let place = 0;
  for (const entry of head.classes) {
    const [name, count] = entry.split(":");
    if (count === undefined) {
      const probability = 1 / (1 + Math.exp(-logits[place])), threshold = thresholds[name] ?? 0.5;
      answer.attributes[name] = { probability, threshold, decision: probability >= threshold };
      place += 1;
    } else {
      const chances = softmax(logits.slice(place, place + Number(count)), 1);
      answer.values[name] = chances.reduce((sum, chance, index) => sum + chance * index, 0);
      place += Number(count);
    }
  }
  return answer;
}

export function embedding(head, outputs) {
  const vector = Array.from(outputs[head.outputs[0]].data), length = Math.hypot(...vector);
  return { embedding: vector.map((value) => value / length) };
}

// Likeliest cells; the output is log-probabilities.
export function cells(head, outputs, top = 5) {
  const { lat, lon, places } = head.extra;
  return softmax(outputs[head.outputs[0]].data, head.calibration.temperature ?? 1)
    .map((probability, index) => ({ name: places[index], lat: lat[index], lon: lon[index], probability }))
    .sort((one, other) => other.probability - one.probability).slice(0, top);
}

// Objects with their boxes in pixels of the photo, best first; a score of 0 is none.
export function detections(head, outputs, top, [width, height]) {
  const [places, scores, labels] = head.outputs.map((name) => outputs[name].data), { size, resize, threshold } = head.extra;
  const long = Math.max(width, height), [x, y] = resize === "pad" ? [long / size, long / size] : [width / size, height / size];
  const cut = (value, most) => Math.min(Math.max(value, 0), most), objects = [];
  scores.forEach((score, place) => {
    if (score < threshold || score <= 0) return;
    const [x1, y1, x2, y2] = places.slice(4 * place, 4 * place + 4);
    const box = [cut(x1 * x, width), cut(y1 * y, height), cut(x2 * x, width), cut(y2 * y, height)];
    objects.push({ name: head.classes[Number(labels[place])], score, box });
  });
  return { objects };
}

export const READERS = { classes, attributes, cells, embedding, detections };
