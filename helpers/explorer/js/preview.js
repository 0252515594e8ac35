// What a place looks like, blended from the four nearest tiles of the plane that came with the widget.

import { PIXELS, bytes, clamp, reads } from "./dom.js";

/**
 * What is on screen: found here at once, and by the kernel when it has answered.
 * @typedef {object} Frame
 * @property {import("./dom.js").Place} xy
 * @property {boolean} live is it the kernel's?
 * @property {boolean} [exact] is it computed in the page, and no blend?
 * @property {string} [device] that computed it, if live
 * @property {number} [delay] in ms, if live
 * @property {number} [took] in ms, if computed in the page
 * @property {string} [note] what else there is to say
 * @property {number} asked in ms, when the pointer was there
 * @property {ArrayLike<number> | null} pixels 784 grey levels an image, null where nothing here can draw
 * @property {number[] | null} probs
 * @property {number | null} prior in nats
 * @property {boolean} off is the place off the data?
 * @property {ArrayLike<number> | null} neighbour the training image with the nearest code, 784 grey levels
 */

/**
 * Without pictures of the tiles, which are left out where the page decodes, it still knows their facts.
 * @param {import("./dom.js").Model} model
 * @returns {import("./local.js").Local}
 */
export function createPreview(model) {
  const side = model.get("tiles");
  const SIZE = PIXELS * model.get("shown"); // of a place's images
  const atlas = bytes(model.get("atlas"), Uint8Array);
  const facts = bytes(model.get("facts"), Float32Array);
  const neighbours = bytes(model.get("neighbours"), Uint8Array);
  const FACTS = facts.length / (side * side); // ten probabilities, log prior density, off the data or not
  const logs = facts.map((p) => Math.log(Math.max(p, 1e-30))); // of the probabilities

  // The four tiles around a place, u and v from 0 to 1 across and down the plane, and their weights.
  function around(u, v) {
    const x = clamp(u * side - 0.5, 0, side - 1);
    const y = clamp(v * side - 0.5, 0, side - 1);
    const i = Math.min(Math.floor(x), side - 2);
    const j = Math.min(Math.floor(y), side - 2);
    const [a, b] = [x - i, y - j];
    const first = j * side + i;
    return {
      tiles: [first, first + 1, first + side, first + side + 1],
      weights: [(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b],
      nearest: Math.round(y) * side + Math.round(x),
    };
  }

  function blend(source, size, count, { tiles, weights }, out) {
    const [p, q, r, s] = tiles.map((tile) => tile * size);
    const [a, b, c, d] = weights;
    for (let k = 0; k < count; k++) out[k] = a * source[p + k] + b * source[q + k] + c * source[r + k] + d * source[s + k];
    return out;
  }

  // Blended as logarithms: blended as they are, sure neighbours make borders of stairs, and doubt where there is none.
  function probabilities(here) {
    const logits = blend(logs, FACTS, 10, here, []);
    const most = Math.max(...logits);
    const odds = logits.map((value) => Math.exp(value - most));
    const sum = odds.reduce((a, b) => a + b);
    return odds.map((value) => value / sum);
  }

  // Clamped arrays round, others cut off.
  const pixels = (here) => (atlas.length ? blend(atlas, SIZE, SIZE, here, new Uint8ClampedArray(SIZE)) : null);

  function of(xy) {
    const [left, right, bottom, top] = model.get("bounds");
    return around((xy[0] - left) / (right - left), (top - xy[1]) / (top - bottom));
  }

  return {
    probabilities: (u, v) => probabilities(around(u, v)),
    picture: (xy, which = 0) => pixels(of(xy))?.subarray(which * PIXELS, (which + 1) * PIXELS) ?? null,

    /** What the views draw, as from an answer of the kernel. */
    at(xy) {
      const here = of(xy);
      const [prior, off] = blend(facts, FACTS, FACTS, here, []).slice(10);
      return {
        xy,
        live: false,
        note: "preview",
        asked: performance.now(),
        pixels: pixels(here),
        probs: reads(model) ? probabilities(here) : null,
        prior: model.get("prior") ? prior : null,
        off: off > 0.5,
        neighbour: atlas.length ? neighbours.subarray(here.nearest * PIXELS, (here.nearest + 1) * PIXELS) : null,
      };
    },
  };
}
