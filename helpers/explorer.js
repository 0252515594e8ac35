// The widget, last of the files that make up its script. One model asks and answers; views, any number, only draw it.
//
// Its state, besides what Python sent:
//   xy               where we are; the pointer sets it here, Python may set it there
//   frame            what is on screen: blended here at once, exact when the kernel's answer for the same place is in
//   pins, path       what is pinned, the places between; strip: their exact images
//   layers           what the plane shows; its buttons set it here, Python may set it there
//   drawing, drawn   the pad's strokes, and what the kernel made of them
// None of it goes through save_changes: the kernel hears of it in messages that always get a reply.

const UNPACK = {
  look: (answer, [pixels, like]) => ({
    ...answer,
    live: true,
    delay: performance.now() - answer.asked,
    pixels: bytes(pixels, Uint8Array),
    like: bytes(like, Uint8Array),
  }),
  strip: (answer, [ink]) => ({ ink: bytes(ink, Uint8Array) }),
  draw: (answer, buffers) => {
    const [prepared, recon, ...likes] = buffers.map((buffer) => bytes(buffer, Uint8Array));
    return { ...answer, prepared, recon, likes };
  },
};

function initialize({ model }) {
  const stop = new AbortController();
  const preview = previewOf(model);
  const links = [];

  // A link of its own for each kind of question, so that a long one does not hold up the others.
  function connect(name, { ask, show, lost }) {
    const link = createLink(
      ({ buffers, ...question }) => {
        try {
          model.send(question, undefined, buffers);
        } catch {
          // The kernel has gone. The slot times out like any other lost question.
        }
      },
      { onLost: lost },
    );
    function receive(answer, buffers) {
      if (!link.receive(answer)) return;
      const found = answer.error ? null : UNPACK[answer.kind]?.(answer, buffers);
      show(answer, found && { ...found, inFlight: link.inFlight });
    }
    links.push(link);
    if (!model.send) return; // a saved HTML file: the preview is all there is
    follow(model, "msg:custom", receive, stop.signal);
    follow(model, `change:${name}`, () => link.ask(ask()), stop.signal);
    if (model.get(name)) link.ask(ask());
  }

  const note = (text) => model.set("frame", { ...model.get("frame"), live: false, note: text });
  const look = () => model.get("instant") !== false && model.set("frame", preview.at(model.get("xy")));
  follow(model, "change:xy", look, stop.signal);
  look();

  connect("xy", {
    ask: () => ({ kind: "look", xy: model.get("xy") }),
    show(answer, frame) {
      if (!frame) return note(answer.error);
      // An answer for a place the pointer has left is older than the blend on screen.
      const here = model.get("xy");
      if (model.get("instant") === false || (frame.xy[0] === here[0] && frame.xy[1] === here[1])) model.set("frame", frame);
    },
    lost: () => note("preview \u00b7 Python is busy or gone"),
  });
  let asked = [];
  connect("path", {
    ask: () => ({ kind: "strip", path: (asked = model.get("path")) }),
    show: (answer, strip) => strip && model.set("strip", { ...strip, places: asked }),
  });
  connect("pins", { ask: () => ({ kind: "pin", pins: model.get("pins") }), show() {} });
  connect("layers", { ask: () => ({ kind: "layers", layers: model.get("layers") }), show() {} });
  connect("drawing", {
    ask: () => ({ kind: "draw", side: model.get("drawing").side, buffers: [model.get("drawing").ink.buffer] }),
    show: (answer, drawn) => model.set("drawn", answer.empty ? null : (drawn ?? answer)),
    lost: () => model.set("drawn", { error: "No answer: Python is busy or gone" }),
  });
  return () => {
    stop.abort();
    links.forEach((link) => link.close());
  };
}

const PARTS = {
  plane(model, el, signal) {
    const column = create("div", "lx-column-left", el);
    createPlane(model, column, signal);
    createSwitches(model, column, signal);
    createStrip(model, column, signal);
  },
  readout: createReadout,
  pad: createPad,
};

// The explorer shows its plane and its read-out; a panel shows one part of an explorer that lives elsewhere.
async function render({ model, el }) {
  const stop = new AbortController();
  const root = create("div", "lx", el);
  const part = model.get("part");
  const shared = part ? await model.widget_manager.get_model(model.get("explorer").replace("IPY_MODEL_", "")) : model;
  for (const name of part ? [part] : ["plane", "readout"]) PARTS[name](shared, root, stop.signal);
  return () => {
    stop.abort();
    root.remove();
  };
}

// Jupyter gets it as the default export of a module; the saved page starts it itself.
const widget = { initialize: (context) => (context.model.get("part") ? undefined : initialize(context)), render };
