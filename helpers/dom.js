// Small tools that the views share.

const SIDE = 28; // pixels of a digit, across and down
const INK = SIDE * SIDE;

// Bytes arrive as a DataView that may start anywhere in its buffer; a typed array needs its own, aligned copy.
function bytes(view, Type) {
  return new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

// Make an element: create("div", "lx-mark", parent, { text: "7", title: "..." }).
function create(tag, name, parent, { text, ...attributes } = {}) {
  const node = document.createElement(tag);
  node.className = name;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return parent.appendChild(node);
}

// Listen to the model until `signal` ends.
function follow(model, events, listener, signal) {
  for (const event of events.split(" ")) {
    model.on(event, listener);
    signal.addEventListener("abort", () => model.off(event, listener));
  }
}

// A canvas for digits, side by side; drawDigit fills it.
function createDigit(name, parent, label, count = 1) {
  return create("canvas", `lx-ink ${name}`, parent, { width: SIDE * count, height: SIDE, role: "img", "aria-label": label });
}

// Ink on transparent paper: the style sheet turns black ink white in a dark theme, so nothing is redrawn then.
function drawDigit(canvas, ink, x = 0, y = 0) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  for (let i = 0; i < INK; i++) image.data[4 * i + 3] = ink[i];
  context.putImageData(image, x * SIDE, y * SIDE);
}

// A minus as wide as a plus, so that numbers do not jump.
const signed = (value, digits = 2) => value.toFixed(digits).replace("-", "\u2212");
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const percent = (share) => `${Math.round(100 * share)} %`;
const largest = (values) => values.indexOf(Math.max(...values));
