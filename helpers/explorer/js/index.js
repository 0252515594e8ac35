// The widget. One model asks and answers; views, any number, only draw it.
//
// Its state, besides what Python sent:
//   xy               where we are; the pointer sets it here, Python may set it there
//   frame            what is on screen: found here in the same frame, and again when the kernel's answer for it is in
//   pins, path       what is pinned, the places between; strip: the kernel's images of them
//   layers           what the plane shows; its buttons set it here, Python may set it there
//   text             the number that is written, likewise
//   drawing, drawn   the pad's strokes, and what was made of them, here and by the kernel
// None of it goes through save_changes: the kernel hears of it in messages that always get a reply.

import { bytes, create, follow, nextFrame } from "./dom.js";
import { createSwitches } from "./layers.js";
import { createLink } from "./link.js";
import { localOf } from "./local.js";
import { createPad } from "./pad.js";
import { createStrip } from "./pins.js";
import { createPlane } from "./plane.js";
import { createReadout } from "./readout.js";

/** @typedef {import("./dom.js").Model} Model */

/**
 * A reply of the kernel: see protocol.py.
 * @typedef {{ kind: string, page: string, number: number, asked: number, error?: string, [more: string]: any }} Reply
 */

const PAUSE = 100; // ms between questions about places whose exact picture is on screen already

/** @type {Record<string, (reply: Reply, buffers: DataView[]) => Record<string, any>>} */
const UNPACK = {
  query: (reply, [pixels, neighbour]) => ({
    ...reply,
    live: true,
    delay: performance.now() - reply.asked,
    pixels: bytes(pixels, Uint8Array),
    neighbour: bytes(neighbour, Uint8Array),
  }),
  strip: (_, [pixels]) => ({ pixels: bytes(pixels, Uint8Array) }),
  draw: (reply, buffers) => {
    const [prepared, recon, ...neighbours] = buffers.map((buffer) => bytes(buffer, Uint8Array));
    return { ...reply, prepared, recon, neighbours };
  },
};

/**
 * Ask the kernel, for all views of a model; return what ends it.
 * @param {{ model: Model }} context
 */
async function initialize({ model }) {
  if (model.get("explorer")) return () => {}; // a panel: the explorer it shows does the asking
  const stop = new AbortController();
  const local = await localOf(model);
  /** @type {import("./link.js").Link[]} */
  const links = [];

  /**
   * Open a link of its own for each kind of question, so that a long one does not hold up the others.
   * @param {string} name whose change is a question
   * @param {object} does
   * @param {() => any} does.ask
   * @param {(reply: Reply, found: Record<string, any> | null) => void} does.show
   * @param {() => void} [does.lost]
   * @param {() => number} [does.pause]
   */
  function connect(name, { ask, show, lost, pause }) {
    const link = createLink(
      ({ buffers, ...question }) => {
        try {
          model.send?.(question, undefined, buffers);
        } catch {
          // The kernel has gone. The slot times out like any other lost question.
        }
      },
      { onLost: lost, pause },
    );
    /** @param {Reply} reply @param {DataView[]} buffers */
    function receive(reply, buffers) {
      if (!link.receive(reply)) return;
      const found = reply.error ? null : UNPACK[reply.kind]?.(reply, buffers);
      show(reply, found && { ...found, inFlight: link.inFlight });
    }
    links.push(link);
    if (!model.send) return; // a saved page: there is nobody to ask
    follow(model, "msg:custom", receive, stop.signal);
    follow(model, `change:${name}`, () => link.ask(ask()), stop.signal);
    if (model.get(name)) link.ask(ask());
  }

  /** @param {string | undefined} text */
  const note = (text) => model.set("frame", { ...model.get("frame"), live: false, note: text });
  const look = () => {
    if (model.get("instant") === false) return;
    const [frame, xy] = [model.get("frame"), model.get("xy")];
    if (frame?.live && String(frame.xy) === String(xy)) return; // Python was faster, and has the last word
    model.set("frame", { ...local.at(xy), ...(local.problem && { note: local.problem }) });
  };
  // A drawing whose place shows every class is a hand to write in: go there.
  const settle = (drawn) => {
    model.set("drawn", drawn);
    if (drawn?.place && model.get("shown") > 1) model.set("xy", drawn.place);
  };
  const read = () => {
    const drawn = local.read?.(model.get("drawing"));
    if (drawn) settle(drawn.empty ? null : drawn);
    else if (!model.send) model.set("drawn", { error: local.problem ?? "This page cannot read: it needs the notebook" });
  };
  const soon = nextFrame(look, stop.signal);
  for (const name of ["xy", "text"]) follow(model, `change:${name}`, soon, stop.signal);
  follow(model, "change:drawing", nextFrame(read, stop.signal), stop.signal);
  look();

  connect("xy", {
    ask: () => ({ kind: "query", xy: model.get("xy") }),
    pause: () => (local.exact && model.get("instant") !== false ? PAUSE : 0),
    show(reply, frame) {
      if (!frame) return note(reply.error);
      // An answer for a place the pointer has left is older than the frame on screen.
      const here = model.get("xy");
      if (model.get("instant") === false || (frame.xy[0] === here[0] && frame.xy[1] === here[1])) model.set("frame", frame);
    },
    lost: () => note(`${local.problem ?? (local.exact ? "page" : "preview")} \u00b7 Python is busy or gone`),
  });
  let asked = [];
  connect("path", {
    ask: () => ({ kind: "strip", path: (asked = model.get("path")) }),
    show: (_, strip) => strip && model.set("strip", { ...strip, places: asked }),
  });
  connect("pins", { ask: () => ({ kind: "pin", pins: model.get("pins") }), show() {} });
  connect("layers", { ask: () => ({ kind: "layers", layers: model.get("layers") }), show() {} });
  connect("text", { ask: () => ({ kind: "write", text: model.get("text") }), show() {} });
  connect("drawing", {
    ask() {
      const { side, pixels, label } = model.get("drawing");
      return { kind: "draw", side, label, buffers: [pixels.buffer] };
    },
    show(reply, drawn) {
      if (!local.read) settle(reply.empty ? null : (drawn ?? reply));
      else if (drawn && !drawn.inFlight) model.set("drawn", reply.empty ? null : drawn); // else the page's is newer
    },
    lost: () => local.read || model.set("drawn", { error: "No answer: Python is busy or gone" }),
  });
  return () => {
    stop.abort();
    links.forEach((link) => link.close());
  };
}

/** @type {Record<string, (model: Model, el: HTMLElement, signal: AbortSignal, local: import("./local.js").Local) => void>} */
const PARTS = {
  plane(model, el, signal, local) {
    const column = create("div", "lx-column-left", el);
    createPlane(model, column, signal, local);
    createSwitches(model, column, signal);
    createStrip(model, column, signal, local);
  },
  readout: createReadout,
  pad: createPad,
};

/**
 * Draw the parts of an explorer, which lives elsewhere when the model is a panel's; return what removes them.
 * @param {{ model: Model, el: HTMLElement }} context
 */
async function render({ model, el }) {
  const stop = new AbortController();
  const root = create("div", "lx", el);
  const id = model.get("explorer")?.replace("IPY_MODEL_", "");
  const explorer = id ? await /** @type {any} */ (model.widget_manager).get_model(id) : model;
  const local = await localOf(explorer);
  for (const name of model.get("parts")) PARTS[name](explorer, root, stop.signal, local);
  return () => {
    stop.abort();
    root.remove();
  };
}

// Alone: anywidget takes a named export for what older versions of it asked for.
export default { initialize, render };
