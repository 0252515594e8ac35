// The plane: every dot is a training image at its code, in the colour of its digit; the ring is where we are.

const SVG = "http://www.w3.org/2000/svg";

// Bytes arrive as a DataView that may start anywhere in its buffer; a typed array needs its own, aligned copy.
function bytes(view, Type) {
  return new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

// Make an element: create("div", "lx-mark", parent, { text: "7", title: "..." }).
function create(tag, name, parent, { text, ...attributes } = {}) {
  const node = tag === "svg" || tag === "circle" ? document.createElementNS(SVG, tag) : document.createElement(tag);
  node.setAttribute("class", name);
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

function signed(value, digits = 2) {
  return value.toFixed(digits).replace("-", "\u2212"); // a minus as wide as the digits, so that numbers do not jump
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function createPlane(model, el, signal) {
  const plane = create("div", "lx-plane", el, {
    tabindex: 0,
    role: "application",
    "aria-roledescription": "latent plane",
    "aria-label": "Latent plane. Move with the arrow keys, with Shift in larger steps; Home returns to the centre.",
    "data-lm-suppress-shortcuts": "true", // or JupyterLab takes the arrow keys
  });
  const canvas = create("canvas", "lx-points", plane, { "aria-hidden": "true" });
  const guides = create("div", "lx-guides", plane, { "aria-hidden": "true" });
  const across = create("div", "lx-hair lx-across", plane);
  const down = create("div", "lx-hair lx-down", plane);
  const mark = create("div", "lx-mark", plane);

  let size = 0;
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
    for (const sigma of model.get("prior") ? [1, 2, 3] : []) {
      const ring = place(create("div", "lx-ring", guides), [0, 0]);
      ring.style.width = ring.style.height = `${(200 * sigma) / (right - left)}%`;
    }
    for (const [digit, xy] of model.get("centres")) {
      place(create("span", "lx-digit", guides, { text: digit }), xy).style.color = model.get("palette")[digit];
    }
  }

  function drawPoints() {
    size = plane.clientWidth;
    if (!size) return; // not on the page yet: the observer below calls again
    const scale = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(size * scale);
    const context = canvas.getContext("2d");
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
    const moves = {
      ArrowLeft: [x - step, y],
      ArrowRight: [x + step, y],
      ArrowUp: [x, y + step],
      ArrowDown: [x, y - step],
      Home: [0, 0],
    };
    if (!moves[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault(); // the page must not scroll, nor the notebook change cells
    event.stopPropagation();
    go(...moves[event.key]);
  }

  // Mouse, pen and touch alike. A finger keeps the plane until it is lifted; `touch-action: none` stops scrolling.
  plane.addEventListener("pointermove", point, { signal });
  plane.addEventListener(
    "pointerdown",
    (event) => {
      if (event.pointerType !== "mouse") plane.setPointerCapture(event.pointerId);
      point(event);
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
  follow(model, "change:points change:bounds change:centres", () => (drawGuides(), drawPoints(), moveMark()), signal);
  drawGuides();
  return plane;
}
