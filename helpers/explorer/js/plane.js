// The plane: every dot is a training image at its code, in the colour of its class; the ring is where we are.

import { bytes, clamp, contextOf, create, follow, signed } from "./dom.js";
import { createLayers } from "./layers.js";

const MOST_PINS = 12;

/**
 * @param {import("./dom.js").Model} model
 * @param {HTMLElement} el
 * @param {AbortSignal} signal
 * @param {import("./local.js").Local} local
 */
export function createPlane(model, el, signal, local) {
  const plane = create("div", "lx-plane", el, {
    tabindex: 0,
    role: "application",
    "aria-roledescription": "latent plane",
    "aria-label": "Latent plane. Arrow keys move, with Shift in larger steps. Home returns to the centre. Enter pins a place, Backspace takes the last pin away.",
    "data-lm-suppress-shortcuts": "true", // or JupyterLab takes the arrow keys
  });
  createLayers(model, plane, signal, local);
  const canvas = create("canvas", "lx-points", plane, { "aria-hidden": "true" });
  const guides = create("div", "lx-guides", plane, { "aria-hidden": "true" });
  const across = create("div", "lx-hair lx-across", plane);
  const down = create("div", "lx-hair lx-down", plane);
  const cloud = create("div", "lx-cloud", plane); // where a drawn digit lies, and how sure the encoder is
  const pins = create("div", "lx-pins", plane);
  const mark = create("div", "lx-mark", plane);

  let size = 0;
  let pressed = [0, 0];
  const span = () => model.get("bounds"); // [left, right, bottom, top], as long as high
  const share = ([x, y]) => {
    const [left, right, bottom, top] = span();
    return [(x - left) / (right - left), (top - y) / (top - bottom)];
  };

  function place(node, xy) {
    const [u, v] = share(xy);
    node.style.left = `${100 * u}%`;
    node.style.top = `${100 * v}%`;
    return node;
  }

  function drawGuides() {
    guides.replaceChildren();
    const [left, right, bottom, top] = span();
    const step = [0.5, 1, 2, 5, 10, 20, 50].find((s) => (right - left) / s <= 10) ?? (right - left) / 5;
    const ticks = (low, high) => {
      const found = [];
      for (let k = Math.ceil(low / step + 0.2); k * step < high - 0.2 * step; k++) found.push(k * step);
      return found;
    };
    const text = (value) => signed(value, step < 1 ? 1 : 0);
    for (const x of ticks(left, right)) place(create("span", "lx-tick lx-x", guides, { text: text(x) }), [x, bottom]);
    for (const y of ticks(bottom, top)) place(create("span", "lx-tick lx-y", guides, { text: text(y) }), [left, y]);
    for (const sigma of model.get("prior") && model.get("plane") === "z" ? [1, 2, 3] : []) {
      const ring = place(create("div", "lx-ring", guides), [0, 0]);
      ring.style.width = ring.style.height = `${(200 * sigma) / (right - left)}%`;
    }
    for (const [digit, xy] of model.get("centres")) {
      const name = model.get("names")[digit];
      place(create("span", name.length > 2 ? "lx-digit lx-word" : "lx-digit", guides, { text: name }), xy).style.color = model.get("palette")[digit];
    }
  }

  function drawPoints() {
    size = plane.clientWidth;
    canvas.hidden = !model.get("layers").includes("points");
    if (!size || canvas.hidden) return; // not on the page yet: the observer below calls again
    const scale = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(size * scale);
    const context = contextOf(canvas);
    const points = bytes(model.get("points"), Float32Array);
    const digits = bytes(model.get("digits"), Uint8Array);
    const palette = model.get("palette");
    const radius = canvas.width * clamp(0.0042 * Math.sqrt(5000 / digits.length), 0.0034, 0.009);
    context.globalAlpha = 0.62;
    // In the order they came, which is random: drawn digit by digit, the last one would hide the others.
    for (let i = 0; i < digits.length; i++) {
      const [u, v] = share([points[2 * i], points[2 * i + 1]]);
      context.fillStyle = palette[digits[i]];
      context.beginPath();
      context.arc(u * canvas.width, v * canvas.height, radius, 0, 2 * Math.PI);
      context.fill();
    }
  }

  function moveMark() {
    const [u, v] = share(model.get("xy"));
    mark.style.transform = `translate(${u * size}px, ${v * size}px)`;
    across.style.transform = `translateY(${v * size}px)`;
    down.style.transform = `translateX(${u * size}px)`;
  }

  function drawPins() {
    pins.replaceChildren();
    model.get("pins").forEach((xy, k) => place(create("span", "lx-pin", pins, { text: k + 1 }), xy));
  }

  function drawCloud() {
    const drawn = model.get("drawn");
    cloud.hidden = !drawn?.place;
    if (cloud.hidden) return;
    const [left, right] = span();
    const [a, b, angle] = drawn.ellipse ?? [0, 0, 0];
    place(cloud, drawn.place);
    cloud.style.width = `${(400 * a) / (right - left)}%`; // two standard deviations to each side
    cloud.style.height = `${(400 * b) / (right - left)}%`;
    cloud.style.rotate = `${-angle}rad`; // the page's y axis points down
  }

  // Pin a place, or take the pin away that is there already.
  function pin(xy) {
    const [left, right] = span();
    const near = ([x, y]) => Math.hypot(x - xy[0], y - xy[1]) < (right - left) / 50;
    const old = model.get("pins");
    model.set("pins", old.some(near) ? old.filter((other) => !near(other)) : [...old, xy].slice(-MOST_PINS));
  }

  function go(x, y) {
    const [left, right, bottom, top] = span();
    model.set("xy", [clamp(x, left, right), clamp(y, bottom, top)]);
  }

  function point(event) {
    const box = plane.getBoundingClientRect();
    const [left, right, bottom, top] = span();
    const u = (event.clientX - box.left - plane.clientLeft) / plane.clientWidth;
    const v = (event.clientY - box.top - plane.clientTop) / plane.clientHeight;
    go(left + u * (right - left), top - v * (top - bottom));
  }

  function key(event) {
    const [x, y] = model.get("xy");
    const [left, right] = span();
    const step = ((right - left) / 100) * (event.shiftKey ? 5 : 1);
    const acts = {
      Enter: () => pin([x, y]),
      " ": () => pin([x, y]),
      Backspace: () => model.set("pins", model.get("pins").slice(0, -1)),
    };
    const moves = {
      ArrowLeft: [x - step, y],
      ArrowRight: [x + step, y],
      ArrowUp: [x, y + step],
      ArrowDown: [x, y - step],
      Home: [0, 0],
    };
    if (!(moves[event.key] || acts[event.key]) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault(); // the page must not scroll, nor the notebook change cells
    event.stopPropagation();
    if (moves[event.key]) go(...moves[event.key]);
    else acts[event.key]();
  }

  // Mouse, pen and touch alike. A finger keeps the plane until it is lifted; `touch-action: none` stops scrolling.
  plane.addEventListener("pointermove", point, { signal });
  plane.addEventListener(
    "pointerdown",
    (event) => {
      if (event.pointerType !== "mouse") plane.setPointerCapture(event.pointerId);
      pressed = [event.clientX, event.clientY];
      point(event);
    },
    { signal },
  );
  plane.addEventListener(
    "click",
    (event) => {
      // A drag explores; only a press that stays in place pins.
      if (Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < 5) pin(model.get("xy"));
    },
    { signal },
  );
  plane.addEventListener("keydown", key, { signal });

  const resized = new ResizeObserver(() => {
    drawPoints();
    moveMark();
  });
  resized.observe(plane);
  signal.addEventListener("abort", () => resized.disconnect());

  follow(model, "change:xy", moveMark, signal);
  follow(model, "change:layers", drawPoints, signal);
  follow(model, "change:pins", drawPins, signal);
  follow(model, "change:drawn", drawCloud, signal);
  follow(model, "change:frame", () => mark.classList.toggle("lx-off", !!model.get("frame").off), signal);
  drawGuides();
  drawPins();
  drawCloud();
  return plane;
}
