// A pad to draw on. Strokes are prepared as MNIST did, read, and placed on the plane: see local.js and the kernel.

import { createBars } from "./bars.js";
import { contextOf, create, createDigit, drawDigit, follow, largest, percent, thing } from "./dom.js";
import { createWriting } from "./writing.js";

const PAD = 112; // pixels sent, across and down: four for one of the digit's

/**
 * @param {import("./dom.js").Model} model
 * @param {HTMLElement} el
 * @param {AbortSignal} signal
 */
export function createPad(model, el, signal) {
  const many = model.get("shown") > 1;
  const names = model.get("names");
  const pad = create("div", many ? "lx-pad lx-hand" : "lx-pad", el);
  const paper = create("div", "lx-card", pad);
  const canvas = create("canvas", "lx-ink lx-paper", paper, {
    width: PAD,
    height: PAD,
    tabindex: 0,
    role: "img",
    "aria-label": `Pad: draw a ${thing(model)} with mouse, finger or pen. Delete clears it.`,
    "data-lm-suppress-shortcuts": "true",
  });
  const hint = create("span", "lx-hint lx-invite", paper, { text: `draw a ${thing(model)}` });
  const clear = create("button", "lx-switch lx-erase", paper, { type: "button", text: "clear" });
  const found = create("div", "lx-found", pad);
  const verdict = create("div", "lx-verdict", found, { "aria-live": "polite" });
  const showBars = createBars(model, found);
  const label = create("label", "lx-line lx-name", found, { text: "encoded as" });
  const choice = create("select", "lx-field", label, { title: "What the encoder is told; change it if it was misread" });
  for (const name of names) create("option", "", choice, { text: name });
  label.hidden = !many;
  const figure = (name, title) => {
    const box = create("figure", "lx-figure", found, { title });
    create("figcaption", "lx-name", box, { text: name });
    return box;
  };
  const prepared = createDigit("lx-thumbnail", figure("prepared", "Cropped, fitted into 20 x 20, centred by mass on 28 x 28"), "prepared");
  const decoded = many ? figure("in your hand", "What the decoder writes with its style") : figure("decoded", "What the decoder draws at its code");
  const { draw: drawDecoded } = createWriting(model, "lx-thumbnail", decoded, many ? "in your hand" : "decoded", signal);
  const row = create("div", "lx-row", found);
  create("span", "lx-name", row, { text: `nearest training ${thing(model)}s` });
  const neighbours = Array.from({ length: 6 }, (_, k) => createDigit("lx-thumbnail", row, `Nearest training ${thing(model)} ${k + 1}`));

  const context = contextOf(canvas, { willReadFrequently: true });
  Object.assign(context, { lineWidth: 9, lineCap: "round", lineJoin: "round" });
  /** @type {[number, number] | null} */
  let last = null;
  /** @type {number | undefined} */
  let told; // by hand, until the pad is cleared

  /** @returns {[number, number]} */
  const at = (event) => [(event.offsetX / canvas.clientWidth) * PAD, (event.offsetY / canvas.clientHeight) * PAD];

  function press(event) {
    canvas.setPointerCapture(event.pointerId);
    last = at(event);
    stroke(event);
    event.preventDefault(); // no text selection, no scrolling
    canvas.focus({ preventScroll: true });
  }

  function stroke(event) {
    if (!last) return;
    context.beginPath();
    context.moveTo(...last);
    for (const step of event.getCoalescedEvents?.() ?? []) context.lineTo(...at(step));
    context.lineTo(...(last = at(event)));
    context.stroke();
    submit();
  }

  function submit() {
    hint.hidden = true;
    const rgba = context.getImageData(0, 0, PAD, PAD).data;
    model.set("drawing", { side: PAD, pixels: Uint8Array.from({ length: PAD * PAD }, (_, k) => rgba[4 * k + 3]), label: told });
  }

  function erase() {
    context.clearRect(0, 0, PAD, PAD);
    told = undefined;
    submit();
    hint.hidden = false;
    model.set("drawn", null);
  }

  function show() {
    const drawn = model.get("drawn");
    found.classList.toggle("lx-none", !drawn?.place);
    if (!drawn?.place) {
      verdict.textContent = drawn?.error ?? "";
      return;
    }
    const best = drawn.probs ? largest(drawn.probs) : -1;
    verdict.textContent = best < 0 ? "" : `Looks like: ${names[best]}  \u00b7  ${percent(drawn.probs[best])}`;
    if (drawn.probs) showBars(drawn.probs);
    drawDigit(prepared, drawn.prepared);
    drawDecoded(drawn.recon);
    choice.value = String(drawn.label);
    pad.dispatchEvent(new CustomEvent("lx-drawn", { bubbles: true, detail: drawn })); // for who embeds or measures
    neighbours.forEach((canvas, k) => {
      canvas.hidden = !drawn.neighbours[k];
      if (drawn.neighbours[k]) drawDigit(canvas, drawn.neighbours[k]);
      canvas.title = names[drawn.digits[k]];
    });
  }

  canvas.addEventListener("pointerdown", press, { signal });
  canvas.addEventListener("pointermove", stroke, { signal });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null), { signal });
  canvas.addEventListener("keydown", (event) => ["Delete", "Backspace", "Escape"].includes(event.key) && erase(), { signal });
  clear.addEventListener("click", erase, { signal });
  const tell = () => {
    told = choice.selectedIndex;
    submit();
  };
  choice.addEventListener("change", tell, { signal });
  follow(model, "change:drawn", show, signal);
  show();
}
