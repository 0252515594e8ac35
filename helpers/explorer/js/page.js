// Without Python: a model with the few methods the views use, and nobody to ask. Only a saved page has this.

import { default as widget } from "./index.js";

/**
 * @param {Record<string, any>} state
 * @param {Record<string, string>} packed what is bytes in the state, base64 of gzip each
 * @returns {Promise<import("./dom.js").Model>}
 */
export async function createModel(state, packed) {
  for (const [name, text] of Object.entries(packed)) state[name] = await unpack(text);
  /** @type {Map<string, Set<() => void>>} */
  const listeners = new Map();
  const of = (event) => {
    const found = listeners.get(event) ?? new Set();
    listeners.set(event, found);
    return found;
  };
  return {
    get: (name) => state[name],
    set(name, value) {
      state[name] = value;
      for (const listener of [...of(`change:${name}`)]) listener();
    },
    on: (event, listener) => of(event).add(listener),
    off: (event, listener) => of(event).delete(listener),
  };
}

/** @param {string} text */
async function unpack(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new DataView(await new Response(stream).arrayBuffer());
}

/**
 * Draw an explorer; return what removes it again.
 * @param {HTMLElement} el
 * @param {import("./dom.js").Model} model
 */
export async function start(el, model) {
  const ends = [widget.initialize({ model }), await widget.render({ model, el })];
  return () => ends.forEach((end) => end());
}
