// @ts-check
// What was measured in the tab Explore, in the browser: says which button was pressed. Gradio runs this file once, as
// the body of a function; `element` holds the markup of exploration.html, and `trigger` calls a handler.

element.addEventListener("click", (/** @type {MouseEvent} */ { target }) => {
  const button = /** @type {HTMLElement | null} */ (/** @type {Element} */ (target).closest("[data-act]"));
  if (button?.dataset.act === "show") trigger("show", { id: button.dataset.id });
  if (button?.dataset.act === "export") trigger("export");
});
