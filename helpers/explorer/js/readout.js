// The read-out: what the model draws at this place, large, and what the classifier makes of it.

import { createBars } from "./bars.js";
import { bits, create, createDigit, drawDigit, follow, largest, percent, reads, signed, thing } from "./dom.js";
import { createField, createWriting } from "./writing.js";

/**
 * @param {import("./dom.js").Model} model
 * @param {HTMLElement} el
 * @param {AbortSignal} signal
 */
export function createReadout(model, el, signal) {
  const many = model.get("shown") > 1;
  const names = model.get("names");
  const nearest = `nearest training ${thing(model)}`;
  const readout = create("div", many ? "lx-readout lx-many" : "lx-readout", el);
  const card = create("div", "lx-card", readout);
  const { canvas: digit, draw } = createWriting(model, "lx-large", card, many ? "in the hand of this place" : `Decoded ${thing(model)}`, signal);
  const badge = create("span", "lx-badge", card, { text: "waiting" });
  const off = create("span", "lx-badge lx-warning", card, { text: "off the data" });
  const line = (name, title, shown = true) => {
    const row = create("div", "lx-line", readout, { title });
    row.hidden = !shown;
    create("span", "lx-name", row, { text: name });
    return create("span", "lx-value", row);
  };
  if (many) createField(model, readout, signal);
  const z = line(model.get("plane"), "Where the ring is");
  const verdict = line("classifier", "The class it finds most probable", reads(model));
  const showBars = reads(model) ? createBars(model, readout) : () => {};
  const doubt = "Of these probabilities: 0 when the classifier is sure, 3.32 when it has no idea";
  const entropy = line("entropy", doubt, reads(model));
  const prior = line("log prior density", "Of the code under N(0, I)", model.get("prior"));
  const neighbour = createDigit("lx-thumbnail", line(nearest, "The real image whose code is nearest"), nearest);
  const speech = create("div", "lx-speech", readout, { "aria-live": "polite" });
  let talk = 0;

  function showPlace() {
    z.textContent = model.get("xy").map((value) => signed(value)).join(",  ");
  }

  function showProbabilities(probs) {
    const best = largest(probs);
    verdict.textContent = `${names[best]}  \u00b7  ${percent(probs[best])}`;
    showBars(probs);
    entropy.textContent = `${bits(probs).toFixed(2)} bits`;
  }

  /** @param {import("./preview.js").Frame} frame */
  function showBadge(frame) {
    const [where, time] = frame.live ? [`live \u00b7 ${frame.device}`, frame.delay] : ["page", frame.took];
    badge.textContent = frame.note ?? `${where} \u00b7 ${Math.round(time ?? 0)} ms`;
    badge.classList.toggle("lx-live", frame.live);
    badge.classList.toggle("lx-exact", !!frame.exact);
  }

  // A screen reader is told once the pointer has come to rest, not sixty times a second.
  function announce(frame) {
    clearTimeout(talk);
    talk = setTimeout(() => {
      const [x, y] = model.get("xy").map((value) => value.toFixed(1));
      const best = frame.probs ? largest(frame.probs) : -1;
      const sees = best < 0 ? "" : `, looks like: ${names[best]}, ${Math.round(100 * frame.probs[best])} percent`;
      speech.textContent = `At ${x}, ${y}${sees}${frame.off ? ", off the data" : ""}`;
    }, 600);
  }

  function showFrame() {
    /** @type {import("./preview.js").Frame | undefined} */
    const frame = model.get("frame");
    if (!frame) return;
    if (frame.pixels) {
      draw(frame.pixels);
      if (frame.neighbour) drawDigit(neighbour, frame.neighbour);
      if (frame.probs) showProbabilities(frame.probs);
      prior.textContent = frame.prior === null ? "" : `${signed(frame.prior)} nats`;
      off.hidden = !frame.off;
      announce(frame);
    }
    showBadge(frame);
    readout.dispatchEvent(new CustomEvent("lx-frame", { bubbles: true, detail: frame })); // for who embeds or measures
  }

  follow(model, "change:xy", showPlace, signal);
  follow(model, "change:frame", showFrame, signal);
  follow(model, "change:smooth", () => digit.classList.toggle("lx-smooth", model.get("smooth")), signal);
  signal.addEventListener("abort", () => clearTimeout(talk));
  digit.classList.toggle("lx-smooth", model.get("smooth"));
  showPlace();
  showFrame();
  return readout;
}
