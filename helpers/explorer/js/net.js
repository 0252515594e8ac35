// The networks, run in the page: what weights.py wrote down, one image or code at a time, in plain JavaScript.
//
// A network is a list of steps. The values are its inputs, then the result of every step, and a step names the values it
// takes. Values are flat Float32Arrays, channel by channel and row by row; their shapes were worked out in Python.
// Weights come rounded, row by row, and are unpacked once; sums are made in double precision, as JavaScript does.

/**
 * @typedef {{ shape: [number, number], bits: number }} Weights rows and columns; 32 bits, or those of a rounded weight
 * @typedef {{ op: string, from: number[], shape: number[], input: number[], weights: Weights[], [setting: string]: any }} Step
 * @typedef {Float32Array<ArrayBufferLike>} Values
 * @typedef {(...inputs: ArrayLike<number>[]) => Values[]} Net its results are overwritten by the next call
 */

/**
 * Undo gzip, whose checksum refuses damaged bytes.
 * @param {DataView} view
 * @returns {Promise<ArrayBuffer>}
 */
export async function inflate(view) {
  const stream = new Blob([/** @type {any} */ (view)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/**
 * Make a network of what `pack` in weights.py has returned, once inflated.
 * @param {ArrayBuffer} buffer
 * @returns {Net}
 */
export function createNet(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  /** @type {{ sizes: number[], steps: Step[], results: number[] }} */
  const { sizes, steps, results } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let start = 4 + length;
  /** @param {number} count */
  const take = (count) => new Uint8Array(buffer.slice(start, (start += count)));
  const runs = steps.map((step) => OPS[step.op](step, ...(step.weights ?? []).map((weights) => unpack(weights, take))));
  return (...inputs) => {
    const given = inputs.map((input) => input.length);
    if (String(given) !== String(sizes)) throw new Error(`a network takes ${sizes} numbers, not ${given}`);
    /** @type {Values[]} */
    const values = inputs.map((input) => Float32Array.from(input));
    runs.forEach((run, k) => values.push(run(...steps[k].from.map((value) => values[value]))));
    return results.map((value) => values[value]);
  };
}

/**
 * Return weights as numbers, four rows at a time: their first column, their second, ... as `multiply` takes them. There
 * are rows of zeros at the end until their number is a multiple of four. A single column stays as it is.
 * @param {Weights} weights
 * @param {(count: number) => Uint8Array} take
 */
function unpack({ shape: [rows, width], bits }, take) {
  const out = new Float32Array(4 * Math.ceil(rows / 4) * width);
  const floats = (count) => new Float32Array(take(4 * count).buffer);
  if (bits === 32) out.set(floats(rows * width));
  else {
    // The eight high bits of every weight, then all low bits in one stream: the former are worth compressing.
    const scales = floats(rows);
    const low = bits - 8;
    const high = take(rows * width);
    const packed = take(Math.ceil((rows * width * low) / 8));
    const [mask, middle] = [2 ** low - 1, 2 ** (bits - 1)];
    for (let k = 0, held = 0, count = 0, at = 0; k < rows * width; k++) {
      while (count < low) [held, count] = [((held & 0xff) << 8) | packed[at++], count + 8];
      count -= low;
      out[k] = (((high[k] << low) | ((held >> count) & mask)) - middle) * scales[Math.floor(k / width)];
    }
  }
  const panels = new Float32Array(out.length);
  for (let k = 0; k < out.length; k++) {
    const row = Math.floor(k / width);
    const inside = row % 4;
    panels[(row - inside) * width + 4 * (k - row * width) + inside] = out[k];
  }
  return panels;
}

/**
 * Multiply a, (rows, depth) as `unpack` returns it, by b, (depth, columns), into out. Blocks of four rows and two columns:
 * eight sums stay in registers, what is loaded is used twice or four times, and one index walks through all four rows.
 * @param {Values} a
 * @param {Values} b
 * @param {Values} out
 * @param {number} depth
 * @param {number} columns
 */
function multiply(a, b, out, depth, columns) {
  const rows = a.length / depth;
  for (let i = 0; i < rows; i += 4) {
    let j = 0;
    for (; j + 1 < columns; j += 2) {
      let p0 = 0, p1 = 0, q0 = 0, q1 = 0, r0 = 0, r1 = 0, s0 = 0, s1 = 0; // prettier-ignore
      const end = (i + 4) * depth;
      for (let k = i * depth, at = j; k < end; k += 4, at += columns) {
        const x = b[at];
        const y = b[at + 1];
        let w = a[k];
        p0 += w * x;
        p1 += w * y;
        w = a[k + 1];
        q0 += w * x;
        q1 += w * y;
        w = a[k + 2];
        r0 += w * x;
        r1 += w * y;
        w = a[k + 3];
        s0 += w * x;
        s1 += w * y;
      }
      let at = i * columns + j;
      out[at] = p0;
      out[at + 1] = p1;
      out[(at += columns)] = q0;
      out[at + 1] = q1;
      out[(at += columns)] = r0;
      out[at + 1] = r1;
      out[(at += columns)] = s0;
      out[at + 1] = s1;
    }
    if (j < columns) {
      let p0 = 0, q0 = 0, r0 = 0, s0 = 0; // prettier-ignore
      const end = (i + 4) * depth;
      for (let k = i * depth, at = j; k < end; k += 4, at += columns) {
        const x = b[at];
        p0 += a[k] * x;
        q0 += a[k + 1] * x;
        r0 += a[k + 2] * x;
        s0 += a[k + 3] * x;
      }
      out[i * columns + j] = p0;
      out[(i + 1) * columns + j] = q0;
      out[(i + 2) * columns + j] = r0;
      out[(i + 3) * columns + j] = s0;
    }
  }
}

/** A step on one number at a time. @param {(x: number, step: Step) => number} f */
const each = (f) => (/** @type {Step} */ step) => {
  const out = new Float32Array(step.shape.reduce((a, b) => a * b));
  return (/** @type {Values} */ x) => {
    for (let k = 0; k < out.length; k++) out[k] = f(x[k], step);
    return out;
  };
};

/**
 * A step on windows of an image.
 * @param {number} start
 * @param {(sum: number, pixel: number) => number} gather
 * @param {(sum: number, count: number) => number} end
 */
const pool = (start, gather, end) => (/** @type {Step} */ { input: [channels, height, width], shape: [, rows, columns], kernel, stride }) => {
  const out = new Float32Array(channels * rows * columns);
  return (/** @type {Values} */ x) => {
    let at = 0;
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          let sum = start;
          for (let down = 0; down < kernel[0]; down++) {
            const corner = (c * height + i * stride[0] + down) * width + j * stride[1];
            for (let k = corner; k < corner + kernel[1]; k++) sum = gather(sum, x[k]);
          }
          out[at++] = end(sum, kernel[0] * kernel[1]);
        }
      }
    }
    return out;
  };
};

/**
 * Lay a kernel on every place of an image, of a smaller one for the pixels of a larger: return, for every pixel that is
 * covered, (tap of the kernel, place, pixel), one triple after the other. A convolution goes from pixels to places, a
 * transposed one from places to pixels.
 * @param {Step} step
 * @param {number[]} places height and width
 * @param {number[]} pixels height and width
 */
function covered({ kernel, stride, padding }, [rows, columns], [height, width]) {
  const found = [];
  for (let tap = 0; tap < kernel[0] * kernel[1]; tap++) {
    for (let place = 0; place < rows * columns; place++) {
      const y = Math.floor(place / columns) * stride[0] - padding[0] + Math.floor(tap / kernel[1]);
      const x = (place % columns) * stride[1] - padding[1] + (tap % kernel[1]);
      if (y >= 0 && y < height && x >= 0 && x < width) found.push(tap, place, y * width + x);
    }
  }
  return Int32Array.from(found);
}

/** The error function, to 1.5e-7 (Abramowitz & Stegun 1964, 7.1.26). @param {number} x */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - poly * Math.exp(-x * x));
}

/** What a step does: from its settings and weights to the function that is run. @type {Record<string, (step: Step, ...weights: Values[]) => (...values: Values[]) => Values>} */
const OPS = {
  linear({ shape: [count], input: [depth] }, weight, bias) {
    const out = new Float32Array(weight.length / depth);
    return (x) => {
      multiply(weight, x, out, depth, 1);
      for (let k = 0; k < count; k++) out[k] += bias[k];
      return out.subarray(0, count);
    };
  },

  // A column for every place of the kernel, the pixels that it covers there: then it is a matrix product.
  conv(step, weight, bias) {
    const { input: [channels, ...pixels], shape: [outputs, ...places], kernel } = step; // prettier-ignore
    const [taps, count, size] = [kernel[0] * kernel[1], places[0] * places[1], pixels[0] * pixels[1]];
    const map = covered(step, places, pixels);
    const columns = new Float32Array(channels * taps * count); // zero where the kernel covers the margin
    const out = new Float32Array(4 * Math.ceil(outputs / 4) * count);
    return (x) => {
      for (let c = 0; c < channels; c++) {
        for (let k = 0; k < map.length; k += 3) columns[(c * taps + map[k]) * count + map[k + 1]] = x[c * size + map[k + 2]];
      }
      multiply(weight, columns, out, channels * taps, count);
      for (let k = 0; k < outputs * count; k++) out[k] += bias[Math.floor(k / count)];
      return out.subarray(0, outputs * count);
    };
  },

  // The other way round: a matrix product gives what every place sends through every tap, and pixels sum it up.
  convTranspose(step, weight, bias) {
    const { input: [channels, ...places], shape: [outputs, ...pixels], kernel } = step; // prettier-ignore
    const [taps, count, size] = [kernel[0] * kernel[1], places[0] * places[1], pixels[0] * pixels[1]];
    const map = covered(step, places, pixels);
    const columns = new Float32Array((weight.length / channels) * count);
    const out = new Float32Array(outputs * size);
    return (x) => {
      multiply(weight, x, columns, channels, count);
      for (let c = 0; c < outputs; c++) {
        out.fill(bias[c], c * size, (c + 1) * size);
        for (let k = 0; k < map.length; k += 3) out[c * size + map[k + 2]] += columns[(c * taps + map[k]) * count + map[k + 1]];
      }
      return out;
    };
  },

  globalMean({ input: [channels, ...pixels] }) {
    const size = pixels[0] * pixels[1];
    return (x) => Float32Array.from({ length: channels }, (_, c) => x.subarray(c * size, (c + 1) * size).reduce((a, b) => a + b) / size);
  },

  maxPool: pool(-Infinity, Math.max, (most) => most),
  meanPool: pool(0, (sum, pixel) => sum + pixel, (sum, count) => sum / count),
  same: () => (x) => x, // another shape, a layer for training alone
  scale: each((x, { by, plus }) => by * x + plus),
  clamp: each((x, { low, high }) => Math.min(Math.max(x, low ?? -Infinity), high ?? Infinity)),
  relu: each((x) => Math.max(x, 0)),
  leakyRelu: each((x, { slope }) => (x > 0 ? x : slope * x)),
  silu: each((x) => x / (1 + Math.exp(-x))),
  gelu: each((x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2))),
  tanh: each(Math.tanh),
  sigmoid: each((x) => 1 / (1 + Math.exp(-x))),
  add: () => (x, y) => x.map((value, k) => value + y[k]),
  oneHot: ({ shape: [count] }) => ([label]) => Float32Array.from({ length: count }, (_, k) => Number(k === label)),
  join: () => (...parts) => Float32Array.from(parts.flatMap((part) => [...part])),
};
