// @ts-check
// The strip, in the browser: says which button of which comparison was pressed. Gradio runs this file once, as the
// body of a function; `element` holds the markup of strip.html, and `trigger` calls a handler.

element.addEventListener("click", (/** @type {MouseEvent} */ { target }) => {
  const button = /** @type {Element} */ (target).closest("[data-act]");
  const card = /** @type {HTMLElement | null} */ (button?.closest("[data-id]"));
  if (button && card) trigger("act", { id: card.dataset.id, act: /** @type {HTMLElement} */ (button).dataset.act });
});
