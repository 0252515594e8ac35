// Without Python: a model with the few methods the views use, and nobody to ask. Only the saved HTML file has this.

function createModel(state) {
  const listeners = new Map(); // event -> set of functions
  const on = (event) => listeners.get(event) ?? listeners.set(event, new Set()).get(event);
  return {
    get: (name) => state[name],
    set(name, value) {
      state[name] = value;
      for (const listener of [...on(`change:${name}`)]) listener();
    },
    on: (event, listener) => on(event).add(listener),
    off: (event, listener) => on(event).delete(listener),
  };
}

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new DataView(await new Response(stream).arrayBuffer());
}

async function start(el, state, packed) {
  for (const [name, text] of Object.entries(packed)) state[name] = await unpack(text);
  const model = createModel(state);
  widget.initialize({ model });
  widget.render({ model, el });
}
