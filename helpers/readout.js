// The read-out: what the model draws at this place, large, and what the classifier makes of it.

const SIDE = 28;

// Ink on transparent paper: the style sheet turns black ink white in a dark theme, so nothing is redrawn.
function drawDigit(canvas, pixels) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  for (let i = 0; i < pixels.length; i++) image.data[4 * i + 3] = pixels[i];
  context.putImageData(image, 0, 0);
}

function createReadout(model, el, signal) {
  const readout = create("div", "lx-readout", el);
  const card = create("div", "lx-card", readout);
  const digit = create("canvas", "lx-ink", card, { width: SIDE, height: SIDE, role: "img", "aria-label": "Decoded digit" });
  const badge = create("span", "lx-badge", card, { text: "waiting" });
  const place = create("div", "lx-line", readout);
  create("span", "lx-name", place, { text: "z" });
  const z = create("span", "lx-value", place);

  const sees = create("div", "lx-line", readout);
  create("span", "lx-name", sees, { text: "classifier" });
  const verdict = create("span", "lx-value", sees);
  const chart = create("div", "lx-bars", readout, { "aria-hidden": "true" });
  const bars = model.get("palette").map((colour, k) => {
    const column = create("div", "lx-column", chart);
    const bar = create("div", "lx-bar", create("div", "lx-track", column));
    bar.style.background = colour;
    create("span", "lx-class", column, { text: k });
    return { column, bar };
  });
  const speech = create("div", "lx-speech", readout, { "aria-live": "polite" });
  let talk = 0;

  function showPlace() {
    z.textContent = model.get("xy").map((value) => signed(value)).join(",  ");
  }

  function showProbabilities(probs) {
    sees.hidden = chart.hidden = !probs;
    if (!probs) return;
    const best = probs.indexOf(Math.max(...probs));
    verdict.textContent = `${best}  \u00b7  ${Math.round(100 * probs[best])} %`;
    bars.forEach(({ column, bar }, k) => {
      bar.style.transform = `scaleY(${probs[k]})`;
      column.classList.toggle("lx-best", k === best);
    });
  }

  function showBadge(frame) {
    badge.textContent = frame.live ? `live \u00b7 ${frame.device} \u00b7 ${Math.round(frame.delay)} ms` : frame.note;
    badge.classList.toggle("lx-live", frame.live);
  }

  // A screen reader is told once the pointer has come to rest, not sixty times a second.
  function announce(frame) {
    clearTimeout(talk);
    talk = setTimeout(() => {
      const [x, y] = model.get("xy").map((value) => value.toFixed(1));
      const best = frame.probs ? frame.probs.indexOf(Math.max(...frame.probs)) : -1;
      const sees = best < 0 ? "" : `, looks like a ${best}, ${Math.round(100 * frame.probs[best])} percent`;
      speech.textContent = `At ${x}, ${y}${sees}`;
    }, 600);
  }

  function showFrame() {
    const frame = model.get("frame");
    if (!frame) return;
    if (frame.pixels) {
      drawDigit(digit, frame.pixels);
      showProbabilities(frame.probs);
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
  sees.hidden = chart.hidden = true;
  showPlace();
  showFrame();
  return readout;
}
