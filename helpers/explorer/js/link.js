// How the view asks the kernel, without ever building a queue.
//
// The pointer moves faster than answers come back. So at most two questions are on their way, and of the positions
// that come up meanwhile only the latest waits. Two, not one: Jupyter Server leaves Nagle's algorithm on, and with one
// question in flight every answer waits 40 ms for a TCP acknowledgement.
//
// Where the page shows exact pictures by itself, an answer comes too late for a pointer that moves on, and every message
// takes time from the next picture: there questions are `pause` ms apart, and the last place is always asked about.
//
// Every question has a number. An answer older than the one on screen is dropped. A question that is never answered
// gives its slot back after `timeout` ms, and the wait doubles each time, so that a kernel which is busy for a minute
// does not wake up to a pile of questions.

/**
 * @typedef {object} Link
 * @property {(question: object) => void} ask send it now, or when a slot is free and nothing newer has come up
 * @property {(answer: any) => boolean} receive take note of an answer; true if it is news, false if stale or foreign
 * @property {number} inFlight how many questions are on their way
 * @property {() => void} close
 */

/**
 * @param {(question: any) => void} send
 * @param {{ slots?: number, timeout?: number, longest?: number, pause?: () => number, onLost?: () => void }} [settings]
 *   times in ms; `pause` is asked before every question
 * @returns {Link}
 */
export function createLink(send, { slots = 2, timeout = 1000, longest = 30000, pause = () => 0, onLost = () => {} } = {}) {
  const page = Math.random().toString(36).slice(2); // two browser tabs can look at one kernel: answers name their page
  /** @type {Map<number, ReturnType<typeof setTimeout>>} */
  const pending = new Map(); // number -> timer of the slot
  let number = 0;
  let shown = 0; // the number of the newest answer
  /** @type {{ asked: number } | null} */
  let waiting = null; // the latest position without a slot
  let patience = timeout;
  let open = true;
  let sent = -Infinity; // when the last question was
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let later;

  function pump() {
    clearTimeout(later);
    while (open && waiting !== null && pending.size < slots) {
      const early = sent + pause() - performance.now();
      if (early > 0) {
        later = setTimeout(() => {
          if (waiting) waiting.asked = performance.now(); // the answer's delay is the kernel's, without our pause
          pump();
        }, early);
        return;
      }
      sent = performance.now();
      const question = { ...waiting, page, number: ++number };
      waiting = null;
      pending.set(number, setTimeout(lose, patience, number));
      send(question);
    }
  }

  function lose(lost) {
    pending.delete(lost);
    patience = Math.min(2 * patience, longest);
    onLost();
    pump();
  }

  return {
    ask(question) {
      waiting = { ...question, asked: performance.now() };
      pump();
    },

    receive(answer) {
      if (!answer || answer.page !== page || !(answer.number <= number)) return false;
      clearTimeout(pending.get(answer.number));
      pending.delete(answer.number);
      patience = timeout;
      const fresh = answer.number > shown;
      if (fresh) shown = answer.number;
      pump();
      return fresh;
    },

    get inFlight() {
      return pending.size;
    },

    close() {
      open = false;
      clearTimeout(later);
      pending.forEach((timer) => clearTimeout(timer));
      pending.clear();
    },
  };
}
