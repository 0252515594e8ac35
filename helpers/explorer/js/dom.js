// Small tools that the views share.

/**
 * What the views read, write and listen to: anywidget's model in Jupyter, page.js's in a saved page.
 * @typedef {object} Model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {(event: string, listener: (...message: any[]) => void) => void} on
 * @property {(event: string, listener: (...message: any[]) => void) => void} off
 * @property {(question: object, callbacks?: undefined, buffers?: ArrayBuffer[]) => void} [send] missing without a kernel
 * @property {{ get_model: (id: string) => Promise<Model> }} [widget_manager]
 */

/** @typedef {[number, number]} Place on the plane */

export const SIDE = 28; // pixels of a digit, across and down
export const PIXELS = SIDE * SIDE;

/**
 * Bytes arrive as a DataView that may start anywhere in its buffer; a typed array needs its own, aligned copy.
 * @template T
 * @param {DataView} view
 * @param {new (buffer: ArrayBuffer) => T} Type
 */
export function bytes(view, Type) {
  return new Type(/** @type {ArrayBuffer} */ (view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)));
}

/**
 * Make an element: create("div", "lx-mark", parent, { text: "7", title: "..." }).
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} name of its class
 * @param {Element} parent
 * @param {Record<string, string | number>} [attributes] and its text
 */
export function create(tag, name, parent, { text, ...attributes } = {}) {
  const node = document.createElement(tag);
  node.className = name;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  if (text !== undefined) node.textContent = String(text);
  return parent.appendChild(node);
}

/**
 * Listen to the model until `signal` ends.
 * @param {Model} model
 * @param {string} event
 * @param {(...message: any[]) => void} listener
 * @param {AbortSignal} signal
 */
export function follow(model, event, listener, signal) {
  model.on(event, listener);
  signal.addEventListener("abort", () => model.off(event, listener));
}

/**
 * Return what asks for `work`: it is done once, before the next frame is painted, however often it was asked for.
 * @param {() => void} work
 * @param {AbortSignal} signal
 */
export function nextFrame(work, signal) {
  let asked = 0;
  signal.addEventListener("abort", () => cancelAnimationFrame(asked));
  return () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      work();
    });
  };
}

const AT_ONCE = 8; // ms of work, then other things may happen

/**
 * Do `work` for every number below `count`, in order, a few milliseconds at a time; return what stops it.
 * @param {number} count
 * @param {(k: number) => void} work
 * @param {AbortSignal} signal
 */
export function inSlices(count, work, signal) {
  let k = 0;
  (function some() {
    for (const until = performance.now() + AT_ONCE; k < count && performance.now() < until; k++) work(k);
    if (k < count && !signal.aborted) setTimeout(some);
  })();
  return () => (k = count);
}

/**
 * What draws on a canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 */
export function contextOf(canvas, settings) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", settings));
}

/**
 * A canvas for digits, side by side; drawDigit fills it.
 * @param {string} name
 * @param {Element} parent
 * @param {string} label for screen readers
 * @param {number} [count] across
 * @param {number} [rows]
 */
export function createDigit(name, parent, label, count = 1, rows = 1) {
  return create("canvas", `lx-ink ${name}`, parent, { width: SIDE * count, height: SIDE * rows, role: "img", "aria-label": label });
}

/**
 * Draw black on transparent paper: the style sheet turns it white in a dark theme, so nothing is redrawn then.
 * @param {HTMLCanvasElement} canvas
 * @param {ArrayLike<number>} pixels 784 grey levels, 255 is black
 * @param {number} [x] which digit across
 * @param {number} [y] which digit down
 */
export function drawDigit(canvas, pixels, x = 0, y = 0) {
  const context = contextOf(canvas);
  const image = context.createImageData(SIDE, SIDE);
  for (let i = 0; i < PIXELS; i++) image.data[4 * i + 3] = pixels[i];
  context.putImageData(image, x * SIDE, y * SIDE);
}

/** What an image shows, in a word. @param {Model} model */
export const thing = (model) => (model.get("names").join("") === "0123456789" ? "digit" : "picture");
/** Does a classifier read what is drawn at a place? Not where that is every class. @param {Model} model */
export const reads = (model) => model.get("classes") && model.get("shown") === 1;
/** A minus as wide as a plus, so that numbers do not jump. @param {number} value @param {number} [digits] */
export const signed = (value, digits = 2) => value.toFixed(digits).replace("-", "\u2212");
/** @param {number} value @param {number} low @param {number} high */
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
/** @param {number} share */
export const percent = (share) => `${Math.round(100 * share)} %`;
/** The index of the largest value. @param {number[]} values */
export const largest = (values) => values.indexOf(Math.max(...values));
/** The entropy of a distribution, in bits. @param {number[]} probs */
export const bits = (probs) => -probs.reduce((sum, p) => (p > 0 ? sum + p * Math.log2(p) : sum), 0);
