// What the page finds by itself, without asking: exact where the networks came along, else a blend of tiles.

import { PIXELS, bytes, largest } from "./dom.js";
import { createNet, inflate } from "./net.js";
import { prepare } from "./prepare.js";
import { createPreview } from "./preview.js";

/**
 * @typedef {object} Local
 * @property {(xy: import("./dom.js").Place) => import("./preview.js").Frame} at
 * @property {(xy: import("./dom.js").Place, which?: number) => ArrayLike<number> | null} picture 784 grey levels of one
 *   of the images that a place shows
 * @property {(u: number, v: number) => number[]} probabilities at shares of the plane's width and height, blended
 * @property {(drawing: { side: number, pixels: Uint8Array, label?: number }) => Record<string, any>} [read] as the kernel answers
 * @property {boolean} [exact] does it decode?
 * @property {string} [problem] why it cannot do what it should
 */

const NEIGHBOURS = 6; // of a drawing, that are shown
const BLENDED = 8; // points of a map, as NeighbourProjection takes them
/** @type {WeakMap<DataView, Promise<Local>>} */
const locals = new WeakMap(); // the views of one model unpack its networks once

/**
 * @param {import("./dom.js").Model} model
 * @returns {Promise<Local>}
 */
export function localOf(model) {
  const key = model.get("facts");
  const found = locals.get(key) ?? createLocal(model);
  locals.set(key, found);
  return found;
}

/** @param {import("./dom.js").Model} model @returns {Promise<Local>} */
async function createLocal(model) {
  const preview = createPreview(model);
  if (!model.get("decoder").byteLength) return preview;
  try {
    return { ...preview, ...(await createExact(model, preview)) };
  } catch (error) {
    console.warn("the explorer's networks:", error);
    return { ...preview, problem: "the networks in this page are damaged" };
  }
}

/** @param {import("./dom.js").Model} model @param {Local} preview @returns {Promise<Omit<Local, "probabilities">>} */
async function createExact(model, preview) {
  const unpack = async (name) => (model.get(name).byteLength ? createNet(await inflate(model.get(name))) : null);
  const [decoder, classifier, encoder] = await Promise.all(["decoder", "classifier", "encoder"].map(unpack));
  const images = new Uint8Array(await inflate(model.get("images")));
  const codes = bytes(model.get("codes"), Float32Array);
  const [points, digits] = [bytes(model.get("points"), Float32Array), bytes(model.get("digits"), Uint8Array)];
  const held = images.length / PIXELS;
  const [mean, ...axes] = model.get("projection"); // of a PCA plane
  const map = model.get("plane") === "map"; // made elsewhere: in between its points, a blend of them
  const size = codes.length / (map ? digits.length : held);
  const shown = model.get("shown");
  if (!decoder || !Number.isInteger(size)) throw new Error("parts of different sizes");

  function codeOf(xy) {
    const [x, y, ...z] = model.get("anchor");
    if (x === xy[0] && y === xy[1]) return z;
    if (map) return blend(nearest(xy, points, digits.length, BLENDED), codes, size);
    return mean ? mean.map((value, k) => value + xy[0] * axes[0][k] + xy[1] * axes[1][k]) : xy;
  }

  function placeOf(z) {
    if (map) return blend(nearest(z, codes, digits.length, BLENDED), points, 2);
    return mean ? axes.map((axis) => axis.reduce((sum, value, k) => sum + value * (z[k] - mean[k]), 0)) : z;
  }

  /** Half axes and angle of one standard deviation of a Gaussian code, as `spread` in projections.py. */
  function ellipse(mu, variance) {
    const near = variance.flatMap((value, k) => [-1, 1].map((side) => mu.with(k, mu[k] + side * Math.sqrt(size * value))));
    const places = near.map(placeOf);
    const mid = [0, 1].map((axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length);
    const covariance = (a, b) => places.reduce((sum, place) => sum + (place[a] - mid[a]) * (place[b] - mid[b]), 0) / places.length;
    const [xx, xy, yy] = [covariance(0, 0), covariance(0, 1), covariance(1, 1)];
    const [middle, reach] = [(xx + yy) / 2, Math.hypot((xx - yy) / 2, xy)];
    return [Math.sqrt(middle + reach), Math.sqrt(Math.max(middle - reach, 0)), 0.5 * Math.atan2(2 * xy, xx - yy)];
  }

  const told = (label) => (shown > 1 ? [[label]] : []); // what a network hears besides
  const decode = (z, which) => decoder(z, ...told(which))[0];
  const levels = (image) => Uint8ClampedArray.from(image, (value) => 255 * value); // rounds
  const classify = (image) => (classifier ? softmax(classifier(image)[0]) : null);
  const digit = (k) => images.subarray(k * PIXELS, (k + 1) * PIXELS);

  const all = Array.from({ length: shown }, (_, k) => k);
  /** Which of a place's images are on screen. */
  const seen = () => (shown > 1 && model.get("text") ? new Set(Array.from(model.get("text"), Number)) : all);

  /** The nearest training images of those held, by their codes. */
  const alike = (z, count) => nearest(z, codes, held, count).map(({ k }) => k);

  return {
    exact: true,

    at(xy) {
      const asked = performance.now();
      const z = codeOf(xy);
      const pixels = new Uint8ClampedArray(shown * PIXELS);
      let probs = null;
      for (const which of seen()) {
        const image = decode(z, which);
        if (!image.every(Number.isFinite)) return { ...preview.at(xy), note: "the model has no finite image there" };
        pixels.set(levels(image), which * PIXELS);
        if (shown === 1) probs = classify(image);
      }
      const frame = {
        ...preview.at(xy), // whether it is off the data
        exact: true,
        pixels,
        probs,
        prior: model.get("prior") ? z.reduce((sum, value) => sum - 0.5 * (value * value + Math.log(2 * Math.PI)), 0) : null,
        neighbour: digit(alike(z, 1)[0]),
      };
      return { ...frame, asked, note: undefined, took: performance.now() - asked };
    },

    picture: (xy, which = 0) => levels(decode(codeOf(xy), which)),

    read: encoder
      ? ({ side, pixels, label }) => {
          const image = prepare(Float32Array.from(pixels, (value) => value / 255), side);
          if (!image) return { empty: true };
          const probs = classify(image);
          label ??= probs ? largest(probs) : 0;
          const [mu, logvar] = encoder(image, ...told(label)).map((values) => Array.from(values));
          const found = alike(mu, NEIGHBOURS);
          return {
            prepared: levels(image),
            recon: Uint8ClampedArray.from(all.flatMap((which) => [...levels(decode(mu, which))])),
            probs,
            label,
            place: placeOf(mu),
            ellipse: logvar ? ellipse(mu, logvar.map(Math.exp)) : null,
            neighbours: found.map(digit),
            digits: found.map((k) => digits[k]),
          };
        }
      : undefined,
  };
}

/** @param {ArrayLike<number>} logits */
function softmax(logits) {
  const most = Math.max(...Array.from(logits));
  const odds = Array.from(logits, (value) => Math.exp(value - most));
  const sum = odds.reduce((a, b) => a + b);
  return odds.map((value) => value / sum);
}

/**
 * The nearest rows of a table, and their squared distances.
 * @param {ArrayLike<number>} query
 * @param {ArrayLike<number>} table
 * @param {number} rows that are looked at
 * @param {number} count
 */
function nearest(query, table, rows, count) {
  /** @type {{ k: number, sum: number }[]} */
  const found = [];
  for (let k = 0; k < rows; k++) {
    let sum = 0;
    for (let i = 0; i < query.length; i++) sum += (table[k * query.length + i] - query[i]) ** 2;
    if (found.length < count || sum < found[count - 1].sum) {
      const at = found.findIndex((other) => sum < other.sum);
      found.splice(at < 0 ? found.length : at, 0, { k, sum });
      found.length = Math.min(found.length, count);
    }
  }
  return found;
}

/**
 * The mean of rows of a table, weighted by the inverse squared distance.
 * @param {{ k: number, sum: number }[]} near
 * @param {ArrayLike<number>} table
 * @param {number} size of a row
 */
function blend(near, table, size) {
  const weights = near.map(({ sum }) => 1 / (sum + 1e-12));
  const total = weights.reduce((a, b) => a + b);
  return Array.from({ length: size }, (_, i) => near.reduce((sum, { k }, n) => sum + (weights[n] / total) * table[k * size + i], 0));
}
