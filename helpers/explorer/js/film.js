// The film of a flow: points on their way from noise to digits, and ten of them decoded as they go.

import { bytes, contextOf, create, createDigit, drawDigit, nextFrame } from "./dom.js";
import { createNet, inflate } from "./net.js";

const SECONDS = 6; // from noise to digits
const LONGEST = 50; // ms between two pictures: a page that was hidden goes on where it was
const NEAR = 20; // screen pixels within which a pointer finds a point
const CLASSES = 10;

/**
 * @param {import("./dom.js").Model} model what film.py has written
 * @param {HTMLElement} el
 * @returns {Promise<() => void>} what removes it
 */
export async function createFilm(model, el) {
  const decoder = createNet(await inflate(model.get("decoder")));
  const way = bytes(model.get("way"), Int16Array);
  const digits = bytes(model.get("digits"), Uint8Array);
  const palette = model.get("palette");
  const [left, right, bottom, top] = model.get("bounds");
  const last = model.get("times") - 1;
  const size = model.get("sides")[0].length;
  const stop = new AbortController();
  const { signal } = stop;

  const root = create("div", "lx", el);
  const column = create("div", "lx-column-left", root);
  const plane = create("div", "lx-plane", column);
  const canvas = create("canvas", "lx-points", plane, { role: "img", "aria-label": "Draws on their way from noise to digits" });
  const controls = create("div", "lx-controls", column);
  const button = create("button", "lx-switch", controls, { type: "button" });
  const slider = create("input", "lx-time", controls, { type: "range", min: 0, max: 1, step: 0.001, "aria-label": "Time of the flow" });
  const clock = create("output", "lx-value", controls);
  const readout = create("div", "lx-readout lx-ten", root);
  const pictures = palette.map((colour, digit) => {
    const card = create("div", "lx-card", readout);
    card.style.borderColor = colour;
    return createDigit("lx-one", card, `A draw that was asked to be a ${digit}`);
  });
  create("span", "lx-hint", readout, { text: "The ringed draws, one for each digit, decoded as they move. Point at another to follow it." });

  let t = 0;
  let playing = false;
  let before = 0; // when the last picture was made, while it plays
  let shown = -1; // the time for which the pictures are, or will be when the stale ones are made
  let [stale, next] = [0, 0]; // one is decoded a frame, or points would stumble
  const followed = Array.from({ length: CLASSES }, (_, digit) => digits.indexOf(digit));

  /** The code of a draw at a time, on the line between two steps. @param {number} k @param {number} time */
  function code(k, time) {
    const step = Math.min(Math.floor(time * last), last - 1);
    const share = time * last - step;
    const [a, b] = [step, step + 1].map((each) => (each * digits.length + k) * size);
    return Array.from({ length: size }, (_, i) => model.get("scale") * (way[a + i] + share * (way[b + i] - way[a + i])));
  }

  /** Where it is, in pixels of the canvas. @returns {[number, number]} */
  function place(k, time) {
    const z = code(k, time);
    const [x, y] = model.get("sides").map((side) => side.reduce((sum, value, i) => sum + value * z[i], 0));
    return [((x - left) / (right - left)) * canvas.width, ((top - y) / (top - bottom)) * canvas.height];
  }

  const frame = () => {
    if (playing) {
      const now = performance.now();
      t = Math.min(1, t + Math.min(now - before, LONGEST) / 1000 / SECONDS);
      before = now;
      if (t === 1) play(false);
    }
    if (t !== shown) [shown, stale] = [t, CLASSES];
    slider.value = String(t);
    clock.textContent = `t = ${t.toFixed(2)}`;
    draw();
    if (stale) {
      stale -= 1;
      if (followed[next] >= 0) drawDigit(pictures[next], Uint8ClampedArray.from(decoder(code(followed[next], t))[0], (value) => 255 * value));
      next = (next + 1) % CLASSES;
    }
    if (playing || stale) again();
  };
  const again = nextFrame(frame, signal);

  function draw() {
    const scale = window.devicePixelRatio || 1;
    const side = Math.round(plane.clientWidth * scale);
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const context = contextOf(canvas);
    context.clearRect(0, 0, side, side);
    const dot = (k, radius) => {
      context.beginPath();
      const [x, y] = place(k, t);
      context.arc(x, y, radius * scale, 0, 2 * Math.PI);
    };
    context.globalAlpha = 0.7;
    digits.forEach((digit, k) => {
      context.fillStyle = palette[digit];
      dot(k, 3);
      context.fill();
    });
    context.globalAlpha = 1;
    context.lineWidth = 1.5 * scale;
    for (const k of followed.filter((each) => each >= 0)) {
      context.strokeStyle = palette[digits[k]];
      context.beginPath();
      for (let step = 0; step <= t * last; step++) context.lineTo(...place(k, step / last));
      context.lineTo(...place(k, t));
      context.stroke();
      context.strokeStyle = getComputedStyle(plane).color;
      dot(k, 5);
      context.stroke();
    }
  }

  function play(on) {
    if (on && t === 1) t = 0;
    playing = on;
    before = performance.now();
    button.textContent = on ? "pause" : "play";
    again();
  }

  function point(event) {
    const box = plane.getBoundingClientRect();
    const scale = canvas.width / plane.clientWidth;
    const at = [event.clientX - box.left - plane.clientLeft, event.clientY - box.top - plane.clientTop].map((value) => value * scale);
    let [best, nearest] = [-1, NEAR * scale];
    digits.forEach((_, k) => {
      const [x, y] = place(k, t);
      const distance = Math.hypot(x - at[0], y - at[1]);
      if (distance < nearest) [best, nearest] = [k, distance];
    });
    if (best < 0 || followed[digits[best]] === best) return;
    followed[digits[best]] = best;
    [next, stale] = [digits[best], CLASSES];
    again();
  }

  plane.addEventListener("pointermove", point, { signal });
  plane.addEventListener("pointerdown", point, { signal });
  button.addEventListener("click", () => play(!playing), { signal });
  slider.addEventListener(
    "input",
    () => {
      t = Number(slider.value);
      play(false);
    },
    { signal },
  );
  const resized = new ResizeObserver(again);
  resized.observe(plane);
  signal.addEventListener("abort", () => resized.disconnect());
  play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  return () => {
    stop.abort();
    root.remove();
  };
}
