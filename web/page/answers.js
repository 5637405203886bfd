// A head's outputs as answers: the same sums as apps/export/answers.py.

export function softmax(logits, temperature) {
  const scaled = Array.from(logits, (value) => value / temperature);
  const most = Math.max(...scaled), powers = scaled.map((value) => Math.exp(value - most));
  const total = powers.reduce((sum, value) => sum + value, 0);
  return powers.map((value) => value / total);
}

// Scores of apps/calibration.py: high for what the network knows.
const SCORES = {
  energy: (logits, t) => {
    const scaled = Array.from(logits, (value) => value / t), most = Math.max(...scaled);
    return t * (most + Math.log(scaled.reduce((sum, value) => sum + Math.exp(value - most), 0)));
  },
  max_logit: (logits) => Math.max(...logits),
  max_softmax: (logits, t) => Math.max(...softmax(logits, t)),
};

export function classes(head, outputs, top = 5) {
  const logits = outputs[head.outputs[0]].data, rule = head.calibration.unknown;
  const predictions = softmax(logits, head.calibration.temperature ?? 1)
    .map((probability, index) => ({ name: head.classes[index], probability }))
    .sort((one, other) => other.probability - one.probability).slice(0, top);
  const unknown = rule ? SCORES[rule.score](logits, rule.temperature ?? 1) < rule.threshold : false;
  return { predictions, unknown };
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

export const READERS = { classes, cells, embedding };
