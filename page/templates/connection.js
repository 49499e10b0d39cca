// @ts-check
// Whether the server is there. Gradio runs this file once, as the body of a function; `element` holds connection.html.
// Gradio itself notices only when a comparison is running or a button is pressed. Then it loads the page again as soon
// as the server is back. In either case memory.js brings back what the server still has.

const EVERY = 10_000; // milliseconds between two looks
const WHILE_GONE = 2_000;
const PATIENCE = 15_000;

const said = /** @type {HTMLElement} */ (element.querySelector("p"));
/** @type {number | undefined} */ let next;

async function look() {
  window.clearTimeout(next);
  if (!document.hidden) {
    const address = new URL("healthz", document.baseURI);
    const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) }).catch(() => null);
    const wasGone = !said.hidden;
    said.hidden = Boolean(answer?.ok); // not while it is being stopped, and not if only a proxy answers
    if (wasGone && said.hidden) document.dispatchEvent(new CustomEvent("server-is-back"));
  }
  next = window.setTimeout(look, said.hidden ? EVERY : WHILE_GONE);
}

for (const sign of ["online", "offline", "visibilitychange"]) window.addEventListener(sign, look);
next = window.setTimeout(look, EVERY);
