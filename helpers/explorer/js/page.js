// Without Python: a model with the few methods the views use, and nobody to ask. Only a saved page has this.

import { createFilm } from "./film.js";
import { default as widget } from "./index.js";
import { localOf } from "./local.js";
import { inflate } from "./net.js";

/**
 * @param {Record<string, any>} state
 * @param {{ raw: Record<string, string>, packed: Record<string, string> }} content what is bytes in the state, as base
 *   85: compressed here, or by who made it
 * @returns {Promise<import("./dom.js").Model>}
 */
export async function createModel(state, { raw, packed }) {
  for (const [name, text] of Object.entries(packed)) state[name] = decode(text);
  for (const [name, text] of Object.entries(raw)) state[name] = new DataView(await inflate(decode(text)));
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

const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

/** Five letters are four bytes, as Python's base64.b85encode writes them. @param {string} text */
function decode(text) {
  const digits = new Uint8Array(128);
  for (let k = 0; k < LETTERS.length; k++) digits[LETTERS.charCodeAt(k)] = k;
  const view = new DataView(new ArrayBuffer(4 * Math.ceil(text.length / 5)));
  for (let at = 0; at < text.length; at += 5) {
    let word = 0;
    for (let k = at; k < at + 5; k++) word = 85 * word + (k < text.length ? digits[text.charCodeAt(k) & 127] : 84);
    view.setUint32((at / 5) * 4, word);
  }
  return new DataView(view.buffer, 0, Math.floor((4 * text.length) / 5));
}

/**
 * Draw an explorer, or a film; return what removes it again. Raises an error where it was to decode and cannot.
 * @param {HTMLElement} el
 * @param {import("./dom.js").Model} model
 */
export async function start(el, model) {
  if (model.get("parts").includes("film")) return createFilm(model, el);
  const { problem } = await localOf(model);
  if (problem) throw new Error(problem);
  const ends = [await widget.initialize({ model }), await widget.render({ model, el })];
  return () => ends.forEach((end) => end());
}
