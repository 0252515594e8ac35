// What the plane can show beneath and besides the points, and the buttons that switch it.

import { SIDE, bits, contextOf, create, drawDigit, follow, inSlices, largest, reads } from "./dom.js";

const LAYERS = [
  ["points", "Training images at their codes"],
  ["tiles", "What the decoder draws, all over the plane"],
  ["regions", "The class the classifier finds most probable; pale where it is unsure"],
  ["entropy", "How unsure the classifier is"],
];
const TILES = 16; // decoded, across and down: more would be too small to read
const TOLD = 4; // the class that tiles show where a place has every class, unless a number is typed
const FINE = 192; // pixels of regions and entropy, across and down

/**
 * Put the layers beneath the points of a plane.
 * @param {import("./dom.js").Model} model
 * @param {HTMLElement} plane
 * @param {AbortSignal} signal
 * @param {import("./local.js").Local} local
 */
export function createLayers(model, plane, signal, local) {
  /** @type {Record<string, HTMLCanvasElement>} */
  const shown = {};
  let stopTiles = () => {};
  /** @type {Record<string, (canvas: HTMLCanvasElement) => void>} */
  const draw = {
    tiles(canvas) {
      const [left, right, bottom, top] = model.get("bounds");
      canvas.width = canvas.height = TILES * SIDE;
      const tile = (k) => {
        const [x, y] = [k % TILES, Math.floor(k / TILES)];
        const xy = [left + ((x + 0.5) / TILES) * (right - left), top - ((y + 0.5) / TILES) * (top - bottom)];
        const pixels = local.picture(/** @type {import("./dom.js").Place} */ (xy), model.get("shown") > 1 ? Number(model.get("text")[0] ?? TOLD) : 0);
        if (pixels) drawDigit(canvas, pixels, x, y);
      };
      stopTiles();
      stopTiles = inSlices(TILES * TILES, tile, signal);
    },
    regions(canvas) {
      const colours = model.get("palette").map((hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16)));
      paint(canvas, (probs) => {
        const best = largest(probs);
        return [...colours[best], 140 * Math.max(0, (probs[best] - 0.1) / 0.9) ** 1.5];
      });
    },
    entropy(canvas) {
      paint(canvas, (probs) => [0, 0, 0, 235 * (bits(probs) / Math.log2(10))]);
    },
  };

  function paint(canvas, colour) {
    canvas.width = canvas.height = FINE;
    const context = contextOf(canvas);
    const image = context.createImageData(FINE, FINE);
    for (let k = 0; k < FINE * FINE; k++) {
      const probs = local.probabilities(((k % FINE) + 0.5) / FINE, (Math.floor(k / FINE) + 0.5) / FINE);
      image.data.set(colour(probs), 4 * k);
    }
    context.putImageData(image, 0, 0);
  }

  function show() {
    const wanted = model.get("layers");
    for (const name of ["regions", "entropy", "tiles"]) {
      const there = wanted.includes(name) && (name === "tiles" || reads(model));
      if (there && !shown[name]) {
        // Drawn when first asked for, kept from then on.
        shown[name] = create("canvas", `lx-layer lx-${name}${name === "regions" ? "" : " lx-ink"}`, plane, { "aria-hidden": "true" });
        plane.prepend(shown[name]);
        draw[name](shown[name]);
      }
      if (shown[name]) shown[name].hidden = !there;
    }
    plane.classList.toggle("lx-busy", wanted.includes("tiles"));
  }

  follow(model, "change:layers", show, signal);
  follow(model, "change:text", () => shown.tiles && draw.tiles(shown.tiles), signal);
  show();
}

/**
 * @param {import("./dom.js").Model} model
 * @param {HTMLElement} el
 * @param {AbortSignal} signal
 */
export function createSwitches(model, el, signal) {
  const row = create("div", "lx-switches", el, { role: "group", "aria-label": "Layers of the plane" });
  const buttons = LAYERS.filter(([name]) => reads(model) || name === "points" || name === "tiles").map(([name, title]) => {
    const button = create("button", "lx-switch", row, { type: "button", title, text: name });
    button.addEventListener(
      "click",
      () => {
        const now = model.get("layers");
        model.set("layers", now.includes(name) ? now.filter((other) => other !== name) : [...now, name]);
      },
      { signal },
    );
    return { name, button };
  });
  const show = () => buttons.forEach(({ name, button }) => button.setAttribute("aria-pressed", model.get("layers").includes(name)));
  follow(model, "change:layers", show, signal);
  show();
}
