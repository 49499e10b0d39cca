// @ts-check
// Downloads that the server makes when they are asked for. Gradio runs this file once, as the body of a function;
// `props.value` is what page/downloads.py describes, `watch` calls back when a handler has changed it, and `trigger`
// calls a handler.

let asked = 0;

document.addEventListener("click", ({ target }) => {
  const button = /** @type {HTMLElement | null} */ (/** @type {Element} */ (target).closest("[data-pack]"));
  if (button) trigger("pack", { what: button.dataset.pack, asked: String(++asked) });
});

watch("value", async () => {
  const { file, name } = props.value;
  const answer = await fetch(file.url);
  if (!answer.ok) {
    window.location.assign(file.url); // which says what is wrong
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name; // the server's own would win
  link.click();
  URL.revokeObjectURL(link.href);
});
