// @ts-check
// What the browser remembers. Gradio runs this file once, as the body of a function, when the component appears:
// `props` holds what page/memory.py describes, `watch` calls back when a handler has changed it, and `trigger` calls
// a handler. Nothing here is believed: the server checks what it is handed, and a picture never leaves the browser.

const NAME = "todo-tome"; // in the browser's storage
const LONGEST = 1800; // characters of an address that every server and proxy takes; the rest of it stays here
const PAUSE = 300; // milliseconds after the last change, because browsers let an address change so often only
const LARGEST = 64 * 2 ** 20; // bytes of a picture
const PNG = 0x89504e470d0a1a0an; // its first eight bytes
const SPACES = "https://huggingface.co"; // shows a Space in a frame, and has the address bar

/** Browsers keep nothing for a page in a frame of another site, or if the visitor says so; then the methods throw. @param {() => Storage} storage @param {string} [text] to be kept @returns {string} what was kept, or "" */
function kept(storage, text) {
  try {
    if (text !== undefined) storage().setItem(NAME, text);
    return storage().getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

/** The settings as they stand in an address. @param {Record<string, unknown>} settings */
function linkOf(settings) {
  const link = new URLSearchParams();
  // Gradio's own, as the theme.
  new URLSearchParams(window.location.search).forEach((value, name) => name.startsWith("__") && link.append(name, value));
  for (const [name, value] of Object.entries(settings)) {
    const values = Array.isArray(value) && value.length ? value : [value];
    for (const each of values) link.append(name, String(each ?? ""));
  }
  return link.toString();
}

/** Remembers settings a moment after they have changed. */
class Settings {
  /** @type {Record<string, unknown> | null} */ changed = null;
  /** @type {number | undefined} */ timer;
  last = JSON.stringify(props.first);

  /** @param {unknown[]} values in the order of `props.names` */
  change(values) {
    if (JSON.stringify(values) === this.last) return;
    this.last = JSON.stringify(values);
    this.changed = Object.fromEntries(props.names.map((/** @type {string} */ name, /** @type {number} */ at) => [name, values[at]]));
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.write(), PAUSE);
  }

  write() {
    if (!this.changed) return;
    const link = linkOf(this.changed);
    const isShort = link.length <= LONGEST;
    window.history.replaceState(window.history.state, "", window.location.pathname + (isShort ? "?" : "#") + link);
    if (document.referrer.startsWith(SPACES + "/")) window.parent.postMessage({ queryString: link, hash: "" }, SPACES);
    kept(() => window.localStorage, JSON.stringify(this.changed));
    this.changed = null;
  }
}

/** What a picture says of its settings; "" if it says nothing. @param {File} file */
async function settingsIn(file) {
  if (file.size > LARGEST) return "";
  const data = new DataView(await file.arrayBuffer());
  if (data.byteLength < 8 || data.getBigUint64(0) !== PNG) return "";
  for (let at = 8; at + 12 <= data.byteLength; at += 12 + data.getUint32(at)) {
    const end = Math.min(at + 8 + data.getUint32(at), data.byteLength);
    const chunk = new Uint8Array(data.buffer, at + 4, end - at - 4);
    const [kind, text] = [latin1(chunk.subarray(0, 4)), chunk.subarray(4)];
    const name = text.indexOf(0);
    if (latin1(text.subarray(0, name)) !== "settings") continue;
    if (kind === "tEXt") return latin1(text.subarray(name + 1));
    // Then a byte that says whether it is compressed, which ours are not, one that says how, and two more texts.
    if (kind === "iTXt" && text[name + 1] === 0) {
      const language = text.indexOf(0, name + 3);
      return new TextDecoder().decode(text.subarray(text.indexOf(0, language + 1) + 1));
    }
  }
  return "";
}

/** @param {Uint8Array} bytes */
const latin1 = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");

/** @param {FileList | null | undefined} files */
async function take(files) {
  if (files?.length) trigger("picture", { settings: await settingsIn(files[0]).catch(() => "") });
}

/** What is typed before the settings are restored stays: a server can be slow. @returns {() => void} to be called when they are */
function keepTyped() {
  /** @type {Map<HTMLInputElement, string>} */ const typed = new Map();
  const note = (/** @type {Event} */ { target }) => {
    const input = /** @type {HTMLInputElement} */ (target);
    if (input.closest(".controls") && !["checkbox", "radio"].includes(input.type)) typed.set(input, input.value);
  };
  document.addEventListener("input", note);
  return () => {
    document.removeEventListener("input", note);
    for (const [input, value] of typed) {
      if (input.value === value) continue;
      input.value = value;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    }
    typed.clear();
  };
}

/** Ask for what the server has of this visit, and for the settings. @param {string} how the page came to be here */
function restore(how) {
  const { search, hash } = window.location;
  trigger("restore", {
    link: [search, hash.includes("=") ? hash : ""].map((part) => part.slice(1)).filter(Boolean).join("&"),
    kept: kept(() => window.localStorage),
    visit: kept(() => window.sessionStorage),
    how,
  });
}

/** Let pictures be dropped anywhere. */
function takeDrops() {
  /** @param {DragEvent} event @param {boolean} isOver */
  const drag = (event, isOver) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    element.toggleAttribute("data-over", isOver);
  };
  document.addEventListener("dragover", (event) => drag(event, true));
  document.addEventListener("dragleave", (event) => event.relatedTarget || drag(event, false));
  document.addEventListener("drop", (event) => {
    drag(event, false);
    take(event.dataTransfer?.files);
  });
  const chooser = /** @type {HTMLInputElement} */ (element.querySelector("input"));
  chooser.addEventListener("change", async () => {
    await take(chooser.files);
    chooser.value = ""; // so that the same can be chosen again
  });
}

const settings = new Settings();
const bringTypedBack = keepTyped();
document.addEventListener("settings", (event) => settings.change(/** @type {CustomEvent} */ (event).detail));
window.addEventListener("pagehide", () => settings.write());
takeDrops();
document.addEventListener("server-is-back", () => {
  settings.write();
  if (!props.value.running) restore("back"); // or else gradio loads the page again
});
restore(/** @type {PerformanceNavigationTiming} */ (performance.getEntriesByType("navigation")[0])?.type ?? "reload");
watch("value", () => {
  kept(() => window.sessionStorage, JSON.stringify(props.value));
  if (props.value.follow) trigger("follow");
  window.setTimeout(bringTypedBack, PAUSE); // the first time, after which there is nothing to bring back
});
