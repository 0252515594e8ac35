// How a place is drawn: as its digit; or, where it shows every class, as ten digits or as the number that was typed.

import { PIXELS, SIDE, contextOf, create, createDigit, drawDigit, follow } from "./dom.js";

export const ACROSS = 5; // digits in a row, of the ten
const LONGEST = 12; // digits of a number, as protocol.py has it
const FAINT = 64; // a grey level from which on a pixel is ink
const [GAP, MARGIN, BLANK] = [3, 4, 8]; // pixels between digits, around the number, of a digit without ink

/**
 * @param {import("./dom.js").Model} model
 * @param {string} name of the canvas's class
 * @param {Element} parent
 * @param {string} label for screen readers
 * @param {AbortSignal} signal
 * @returns {{ canvas: HTMLCanvasElement, draw: (pixels: ArrayLike<number>) => void }} what draws the images of a place
 */
export function createWriting(model, name, parent, label, signal) {
  const canvas = createDigit(name, parent, label);
  if (model.get("shown") === 1) return { canvas, draw: (pixels) => drawDigit(canvas, pixels) };
  /** @type {ArrayLike<number> | null} */
  let last = null;
  const draw = (pixels) => {
    last = pixels;
    if (!pixels) return;
    const digits = Array.from({ length: model.get("shown") }, (_, k) => Array.prototype.slice.call(pixels, k * PIXELS, (k + 1) * PIXELS));
    const text = model.get("text");
    if (text) setNumber(canvas, Array.from(text, (k) => digits[k]));
    else {
      [canvas.width, canvas.height] = [ACROSS * SIDE, Math.ceil(digits.length / ACROSS) * SIDE];
      digits.forEach((digit, k) => drawDigit(canvas, digit, k % ACROSS, Math.floor(k / ACROSS)));
    }
    canvas.setAttribute("aria-label", `${text || "All ten digits"}, ${label}`);
  };
  follow(model, "change:text", () => draw(last), signal);
  return { canvas, draw };
}

/**
 * Set digits side by side as a hand does: by their ink, not by their boxes, and on one line.
 * @param {HTMLCanvasElement} canvas
 * @param {number[][]} digits 784 grey levels each
 */
function setNumber(canvas, digits) {
  let width = MARGIN - GAP;
  const set = digits.map((digit) => {
    let [left, right, bottom] = [SIDE, -1, 0];
    digit.forEach((level, k) => {
      if (level < FAINT) return;
      [left, right, bottom] = [Math.min(left, k % SIDE), Math.max(right, k % SIDE), Math.floor(k / SIDE)];
    });
    if (right < 0) [left, right, bottom] = [0, BLANK - 1, SIDE - 1];
    const x = width + GAP - left; // where its first pixel comes
    width = x + right + 1;
    return { digit, x, y: SIDE - 1 - bottom };
  });
  [canvas.width, canvas.height] = [width + MARGIN, SIDE + MARGIN];
  const context = contextOf(canvas);
  const image = context.createImageData(canvas.width, canvas.height);
  for (const { digit, x, y } of set) {
    digit.forEach((level, k) => {
      const [column, row] = [x + (k % SIDE), y + Math.floor(k / SIDE)];
      const at = 4 * (row * canvas.width + column) + 3;
      if (column >= 0 && column < canvas.width && row < canvas.height) image.data[at] = Math.max(image.data[at], level);
    });
  }
  context.putImageData(image, 0, 0);
}

/**
 * Put the field for the number.
 * @param {import("./dom.js").Model} model
 * @param {Element} el
 * @param {AbortSignal} signal
 */
export function createField(model, el, signal) {
  const field = create("input", "lx-field", el, {
    type: "text",
    inputmode: "numeric",
    autocomplete: "off",
    placeholder: "a number to write",
    "aria-label": `Number to write in this hand, up to ${LONGEST} digits`,
    "data-lm-suppress-shortcuts": "true",
  });
  const show = () => {
    if (field.value !== model.get("text")) field.value = model.get("text");
  };
  field.addEventListener(
    "input",
    () => {
      model.set("text", field.value.replace(/\D/g, "").slice(0, LONGEST));
      show();
    },
    { signal },
  );
  follow(model, "change:text", show, signal);
  show();
}
