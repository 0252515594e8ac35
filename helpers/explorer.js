// The widget. The model (one a kernel object) asks and answers; the views (any number) only draw it.
//
// This file comes last in one script made of link.js, plane.js, readout.js and itself: anywidget loads one file a
// widget, and plain concatenation needs no bundler. State lives in the model:
//   xy      where we are; the pointer sets it here, Python may set it there
//   frame   what is drawn there; set here only, from an answer of the kernel

// An answer echoes its question, so it says where it belongs and when it was asked for.
function frameFrom(answer, buffers) {
  if (answer.error) return { live: false, note: answer.error };
  return { ...answer, live: true, delay: performance.now() - answer.asked, pixels: bytes(buffers[0], Uint8Array) };
}

function initialize({ model }) {
  const stop = new AbortController();
  const link = createLink(
    (question) => {
      try {
        model.send(question);
      } catch {
        // The kernel has gone. The slot times out like any other lost question.
      }
    },
    { onLost: () => model.set("frame", { ...model.get("frame"), live: false, note: "waiting for Python" }) },
  );
  const ask = () => link.ask({ kind: "look", xy: model.get("xy") });
  const receive = (message, buffers) => {
    if (link.receive(message)) model.set("frame", frameFrom(message, buffers));
  };
  follow(model, "change:xy", ask, stop.signal);
  follow(model, "msg:custom", receive, stop.signal);
  ask();
  return () => {
    stop.abort();
    link.close();
  };
}

function render({ model, el }) {
  const stop = new AbortController();
  const root = create("div", "lx", el);
  createPlane(model, root, stop.signal);
  createReadout(model, root, stop.signal);
  return () => {
    stop.abort();
    root.remove();
  };
}

export default { initialize, render };
