// Ten probabilities as bars, one for each class, in its colour and with its name.

import { create, largest } from "./dom.js";

/**
 * @param {import("./dom.js").Model} model
 * @param {Element} el
 * @returns {(probs: number[]) => void} what shows them
 */
export function createBars(model, el) {
  const chart = create("div", "lx-bars", el, { "aria-hidden": "true" });
  chart.hidden = !model.get("classes");
  const names = model.get("names");
  chart.classList.toggle("lx-words", names.some((name) => name.length > 2));
  const bars = model.get("palette").map((colour, k) => {
    const column = create("div", "lx-column", chart);
    const bar = create("div", "lx-bar", create("div", "lx-track", column));
    bar.style.background = colour;
    create("span", "lx-class", column, { text: names[k] });
    return { column, bar };
  });
  return (probs) => {
    bars.forEach(({ column, bar }, k) => {
      bar.style.transform = `scaleY(${probs[k]})`;
      column.classList.toggle("lx-best", k === largest(probs));
    });
  };
}
