// A drawing becomes an image as the digits of MNIST did, step by step as `prepare` in space.py does it.

import { PIXELS, SIDE, clamp } from "./dom.js";

const BOX = 20; // pixels of a digit within its image

/**
 * Crop strokes, fit them in a 20 x 20 box, and centre their mass on 28 x 28 pixels.
 * @param {ArrayLike<number>} strokes side x side grey levels in [0, 1]
 * @param {number} side
 * @param {number} [faintest]
 * @returns {Float32Array | null} 784 of them, or null for an empty pad
 */
export function prepare(strokes, side, faintest = 0.05) {
  let [top, bottom, left, right] = [side, -1, side, -1];
  for (let k = 0; k < side * side; k++) {
    if (!(strokes[k] > faintest)) continue;
    const [y, x] = [Math.floor(k / side), k % side];
    [top, bottom, left, right] = [Math.min(top, y), Math.max(bottom, y), Math.min(left, x), Math.max(right, x)];
  }
  if (bottom < 0) return null;
  const [height, width] = [bottom - top + 1, right - left + 1];
  const scale = BOX / Math.max(height, width);
  const [h, w] = [height, width].map((length) => Math.max(1, toEven(length * scale)));
  const [rows, columns] = [shrink(height, h), shrink(width, w)];
  const across = new Float64Array(height * w); // first along the rows, then along the columns
  for (let i = 0; i < height; i++) {
    columns.forEach(({ start, weights }, j) => {
      across[i * w + j] = weights.reduce((sum, weight, k) => sum + weight * strokes[(top + i) * side + left + start + k], 0);
    });
  }
  const digit = new Float64Array(h * w);
  rows.forEach(({ start, weights }, i) => {
    for (let j = 0; j < w; j++) digit[i * w + j] = clamp(weights.reduce((sum, weight, k) => sum + weight * across[(start + k) * w + j], 0), 0, 1);
  });
  const image = new Float32Array(PIXELS);
  const [y, x] = [begin(h, (i, j) => digit[i * w + j], w), begin(w, (j, i) => digit[i * w + j], h)];
  for (let i = 0; i < h; i++) for (let j = 0; j < w; j++) image[(y + i) * SIDE + x + j] = digit[i * w + j];
  return image;
}

/** Round as Python does, a half to the even number. @param {number} value */
function toEven(value) {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
}

/**
 * Return which pixels make each pixel of a line of another length, and their weights: a triangle as wide as two of the
 * coarser pixels, which is torch's bilinear interpolation with antialias.
 * @param {number} from
 * @param {number} to
 */
function shrink(from, to) {
  const scale = from / to;
  const reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const middle = scale * (i + 0.5);
    const start = Math.max(Math.floor(middle - reach + 0.5), 0);
    const end = Math.min(Math.floor(middle + reach + 0.5), from);
    const weights = Array.from({ length: end - start }, (_, k) => Math.max(0, 1 - Math.abs((start + k + 0.5 - middle) / reach)));
    const sum = weights.reduce((a, b) => a + b);
    return { start, weights: weights.map((weight) => weight / sum) };
  });
}

/**
 * Return where lines must begin for their centre of mass to come to the middle of the image.
 * @param {number} count of lines
 * @param {(line: number, pixel: number) => number} at
 * @param {number} length of a line
 */
function begin(count, at, length) {
  let [mass, moment] = [0, 0];
  for (let line = 0; line < count; line++) {
    for (let pixel = 0; pixel < length; pixel++) {
      mass += at(line, pixel);
      moment += line * at(line, pixel);
    }
  }
  return clamp(Math.floor(SIDE / 2 - moment / mass + 0.499), 0, SIDE - count);
}
