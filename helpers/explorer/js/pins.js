// The way from pin to pin, as a film strip. Drawn by the page at once, and again when the kernel has decoded it.

import { PIXELS, clamp, create, createDigit, drawDigit, follow, inSlices } from "./dom.js";

const FRAMES = 15;

/**
 * Return places at equal steps along the way, corners included in the count of steps but not always hit.
 * @param {import("./dom.js").Place[]} pins two or more
 * @param {number} count
 */
export function alongPath(pins, count) {
  const lengths = pins.slice(1).map(([x, y], k) => Math.hypot(x - pins[k][0], y - pins[k][1]));
  const total = lengths.reduce((sum, length) => sum + length, 0);
  return Array.from({ length: count }, (_, n) => {
    let rest = (total * n) / (count - 1);
    let k = 0;
    while (k < lengths.length - 1 && rest > lengths[k]) rest -= lengths[k++];
    const share = lengths[k] ? clamp(rest / lengths[k], 0, 1) : 0;
    const [[x, y], [toX, toY]] = [pins[k], pins[k + 1]];
    return /** @type {import("./dom.js").Place} */ ([x + share * (toX - x), y + share * (toY - y)]);
  });
}

/**
 * @param {import("./dom.js").Model} model
 * @param {HTMLElement} el
 * @param {AbortSignal} signal
 * @param {import("./local.js").Local} local
 */
export function createStrip(model, el, signal, local) {
  const strip = create("div", "lx-strip", el);
  const hint = create("span", "lx-hint", strip);
  const clear = create("button", "lx-switch lx-clear", strip, { type: "button", text: "clear pins" });
  const rows = model.get("shown");
  const film = createDigit("lx-film", strip, "The way from pin to pin", FRAMES, rows);
  let stop = () => {};
  /** @type {import("./dom.js").Place[]} */
  let path = [];

  function show() {
    const pins = model.get("pins");
    film.hidden = pins.length < 2;
    hint.textContent = film.hidden ? "Click to pin a place; two pins make a film strip." : "The way from pin to pin";
    clear.hidden = !pins.length;
    path = film.hidden ? [] : alongPath(pins, FRAMES);
    stop();
    const draw = (n) => {
      const [k, row] = [n % FRAMES, Math.floor(n / FRAMES)];
      const pixels = local.picture(path[k], row);
      if (pixels) drawDigit(film, pixels, k, row);
    };
    stop = inSlices(path.length * rows, draw, signal);
    if (path.length) model.set("path", path);
  }

  function showExact() {
    const { places, pixels } = model.get("strip");
    if (String(places) !== String(path)) return; // the pins have moved on
    stop();
    for (let n = 0; n < FRAMES * rows; n++) {
      drawDigit(film, pixels.subarray(n * PIXELS, (n + 1) * PIXELS), Math.floor(n / rows), n % rows); // as they come
    }
  }

  // The strip is a handle too: along it, the ring walks the path.
  film.addEventListener(
    "pointermove",
    (event) => model.set("xy", path[clamp(Math.floor((event.offsetX / film.clientWidth) * FRAMES), 0, FRAMES - 1)]),
    { signal },
  );
  clear.addEventListener("click", () => model.set("pins", []), { signal });
  follow(model, "change:pins", show, signal);
  follow(model, "change:strip", showExact, signal);
  show();
}
