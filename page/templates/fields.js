// @ts-check
// The fields of the form, in the browser. Gradio runs this file once, as the body of a function, when the component
// of the message appears: `element` holds message.html, and `watch` calls back when a handler has changed it.

const AT_FIELD = "field-error";
const ACCORDION = ".controls .gr-accordion";

element.setAttribute("aria-live", "polite"); // screen readers read out what changes

/** The field that the message speaks of, if it speaks of one. */
function fieldOfMessage() {
  const sentence = /** @type {HTMLElement | null} */ (element.querySelector("[data-at]"));
  return { sentence, field: sentence && document.getElementById(sentence.dataset.at ?? "") };
}

function unmark() {
  document.getElementById(AT_FIELD)?.remove();
  for (const input of document.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
}

/** Mark the field that the message speaks of, and set the sentence beside it. */
function mark() {
  unmark();
  const { sentence, field } = fieldOfMessage();
  if (!sentence || !field) return;
  for (let around = field.closest(ACCORDION); around; around = around.parentElement?.closest(ACCORDION) ?? null) {
    toggle(around, true);
  }
  for (const input of field.querySelectorAll("input, textarea")) {
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", AT_FIELD);
  }
  const beside = document.createElement("p");
  beside.id = AT_FIELD;
  beside.textContent = sentence.textContent;
  field.append(beside);
  sentence.dataset.seen = "at-field"; // so that it is not seen twice
  field.scrollIntoView({ block: "nearest" });
}

/** @param {Element} accordion @param {boolean} isOpen */
function toggle(accordion, isOpen) {
  const button = accordion.querySelector("button");
  if (button && button.classList.contains("open") !== isOpen) button.click();
}

/** "More settings" are open at first, out of sight, until their fields are made. */
function closeSettings() {
  if (!document.querySelector(ACCORDION + " #seed input")) {
    window.setTimeout(closeSettings, 20);
    return;
  }
  for (const accordion of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(ACCORDION))) {
    toggle(accordion, false);
    accordion.dataset.ready = "";
  }
}

watch("value", mark);
// What is typed into the field is another value: the message is about the one before.
document.addEventListener("input", ({ target }) => {
  if (!fieldOfMessage().field?.contains(/** @type {Node} */ (target))) return;
  unmark();
  props.value = "";
});
// The wheel over a number in which somebody has typed would change it.
document.addEventListener(
  "wheel",
  ({ target }) => {
    if (target instanceof HTMLInputElement && target.type === "number" && target === document.activeElement) target.blur();
  },
  { capture: true, passive: true },
);
closeSettings();
