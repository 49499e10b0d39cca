// @ts-check
// The stage, in the browser. Gradio runs this file once, as the body of a function, when the component appears:
// `element` holds the markup of stage.html, `props.value` is what page/stage.py describes, and `watch` calls back
// when a handler has changed it.

/**
 * A picture, as page/stage.py describes it.
 * @typedef {object} Picture
 * @property {string} id
 * @property {string} label
 * @property {string} caption
 * @property {string} alt
 * @property {string} name
 * @property {number} width
 * @property {number} height
 * @property {boolean} preview
 * @property {boolean} best
 * @property {string | null} colour
 * @property {{url: string} | null} file null: a picture to come
 * @property {{url: string} | null} flip
 * @property {Tokens | null} tokens
 */

/**
 * Which tokens were kept: a picture with a pixel for each, the grids of all steps of all blocks below each other.
 * Red · 256 + green is the index of the token that stands for this one; its own, if it was kept.
 * @typedef {object} Tokens
 * @property {{url: string}} file
 * @property {number} blocks
 * @property {number} steps
 * @property {number} rows
 * @property {number} columns
 */

/**
 * One picture, or part of one, on a place that layers share.
 * @typedef {object} Layer
 * @property {"picture" | "right" | "difference" | "map" | "tokens" | "held"} kind
 * @property {Picture} picture
 */

/**
 * A place on the stage: layers on top of each other, with captions above.
 * @typedef {object} Pane
 * @property {string} id
 * @property {Layer[]} layers
 * @property {Picture[]} captions
 * @property {string[]} tags what is written on the picture, from left to right
 */

/** The middle and the width of a square, as parts of the picture. @typedef {{x: number, y: number, width: number}} Spot */

/** @typedef {"side-by-side" | "wipe" | "difference" | "blink" | "tokens"} Mode */

const AT_ONCE = 5; // pictures beside each other
const NARROW = 640; // CSS pixels, below which pictures take turns
const LEAST_WIDTH = 150; // of a picture, CSS pixels; before it gets less, there are two rows
const MOST_ZOOM = 32;
const SHARP_FROM = 3; // the zoom from which pixels are shown as they are
const WHEEL_STEP = 0.002; // zoom is exp(this · pixels that the wheel scrolls)
const PINCH_STEP = 0.01; // likewise, for a pinch on a touchpad, which browsers report as a wheel
const LINE = 16; // pixels that a line of scrolling is
const SWALLOW = 300; // milliseconds for which a wheel that has zoomed out goes on without scrolling the page
const SPOT_ZOOM = 6;
const SPOTS = 3;
const INTRODUCTION = 2000; // milliseconds
const LARGE_TOKEN = 14; // CSS pixels, from which tokens have colours
const TOKENS_WIDTH = 1024; // canvas pixels, about, that tokens are drawn on
const GOLDEN_ANGLE = 137.508; // degrees between the hues of neighbours, so that they are told apart

const HINTS = {
  "side-by-side": "Wheel zooms, drag moves, double-click resets",
  wipe: "Drag across the picture, or use the arrow keys",
  difference: "Black where the picture equals Baseline's",
  blink: "Keys 1 to 5 switch; hold B for Baseline",
  tokens: "Bright: kept. Zoom in to see what stands for the others",
};

const COLOURS_HINT = "A kept token has a border; it stands for those of its colour";

/** @param {number} value @param {number} least @param {number} most */
const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

/**
 * A new element.
 * @param {string} tag
 * @param {Record<string, string | boolean>} attributes
 * @param {...(Node | string)} children
 */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(made, name, value);
  made.append(...children);
  return made;
}

/** Touches the page only if something changes. @param {Element} element @param {string} name @param {string | boolean} value */
function setAttribute(element, name, value) {
  if (value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : value);
}

/** @param {Element} element @param {string} text */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Layer["kind"]} kind @param {Picture} picture */
const fileOf = (kind, picture) => (kind === "map" ? picture.flip : picture.file);

/** What stands for each token, in one step of one block. @param {Uint8ClampedArray} pixels @param {Tokens} tokens @param {number} block @param {number} step from 0 */
function standsFor(pixels, { blocks, steps, rows, columns }, block, step) {
  const count = rows * columns;
  const first = (Math.min(block, blocks - 1) * steps + Math.min(step, steps - 1)) * count;
  return Array.from({ length: count }, (_, at) => pixels[(first + at) * 4] * 256 + pixels[(first + at) * 4 + 1]);
}

/**
 * Darken what was not kept; or, where tokens are large enough to be told apart, give it a colour, and the kept token
 * that stands for it a border of that colour.
 * @param {HTMLCanvasElement} canvas
 * @param {number[]} others what stands for each token
 * @param {Tokens} tokens
 * @param {boolean} isColoured
 */
function drawTokens(canvas, others, { rows, columns }, isColoured) {
  const side = Math.max(4, Math.floor(TOKENS_WIDTH / columns));
  canvas.width = side * columns;
  canvas.height = side * rows;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const line = Math.max(1, side / 10);
  context.lineWidth = line;
  const represents = new Set(others.filter((other, at) => other !== at));
  others.forEach((other, at) => {
    const [x, y] = [(at % columns) * side, Math.floor(at / columns) * side];
    const hue = (other * GOLDEN_ANGLE) % 360;
    if (other !== at) {
      context.fillStyle = isColoured ? "hsl(" + hue + " 60% 50% / 72%)" : "rgb(0 0 0 / 65%)";
      context.fillRect(x, y, side, side);
    } else if (isColoured && represents.has(at)) {
      context.strokeStyle = "hsl(" + hue + " 90% 60%)";
      context.strokeRect(x + line / 2, y + line / 2, side - line, side - line);
    }
  });
}

/** @param {Picture} picture */
const urlOf = (picture) => picture.file?.url;

/** Save what a link leads to under the name that it has: the server's own, in its answer, would win. @param {Event} event */
async function download(event) {
  event.preventDefault();
  const link = /** @type {HTMLAnchorElement} */ (event.currentTarget);
  const answer = await fetch(link.href);
  if (!answer.ok) {
    window.location.assign(link.href); // which says what is wrong
    return;
  }
  const url = URL.createObjectURL(await answer.blob());
  make("a", { href: url, download: link.download }).click();
  URL.revokeObjectURL(url);
}

/** What all pictures show: how much enlarged, and which point of the picture, 0 to 1, is in the middle. */
class View {
  zoom = 1;
  x = 0.5;
  y = 0.5;

  /** Enlarge about a point of the frame, 0 to 1, which stays where it is. @param {number} factor */
  zoomAt(factor, x = 0.5, y = 0.5) {
    const zoom = clamp(this.zoom * factor, 1, MOST_ZOOM);
    this.x += (x - 0.5) / this.zoom - (x - 0.5) / zoom;
    this.y += (y - 0.5) / this.zoom - (y - 0.5) / zoom;
    this.show(zoom, this.x, this.y);
  }

  /** Move what is seen by a part of the frame. @param {number} dx @param {number} dy */
  pan(dx, dy) {
    this.show(this.zoom, this.x - dx / this.zoom, this.y - dy / this.zoom);
  }

  /** @param {number} zoom @param {number} x @param {number} y */
  show(zoom, x, y) {
    const half = 0.5 / zoom;
    this.zoom = zoom;
    this.x = clamp(x, half, 1 - half);
    this.y = clamp(y, half, 1 - half);
  }

  reset() {
    this.show(1, 0.5, 0.5);
  }
}

/** The state of the viewer, and how it is drawn. */
class Stage {
  /** @type {Picture[]} */ pictures = [];
  /** @type {Mode} */ mode = "side-by-side";
  view = new View();
  /** What was chosen to be seen beside the others, and what was not, by id. @type {Map<string, boolean>} */
  choices = new Map();
  /** The picture that is seen where only one is. @type {string | null} */ current = null;
  /** What a wipe is between; null: not chosen. @type {{left: string | null, right: string | null}} */
  pair = { left: null, right: null };
  wipe = 50; // percent of the width
  /** What holds Baseline in view. @type {"key" | "pointer" | null} */ heldBy = null;
  /** The place of a largest difference, as the view has it; null: none was asked for. @type {Spot | null} */ mark = null;
  width = 0;
  /** The `img` elements, which are kept, so that no picture is decoded anew. @type {Map<string, HTMLImageElement>} */
  images = new Map();
  hasLargeTokens = false;
  /** What the files of tokens hold, by address; null: on its way. @type {Map<string, Uint8ClampedArray | null>} */
  tokenPixels = new Map();
  drawn = "";
  /** @type {number | undefined} */ introduction;

  /** @param {HTMLElement} root @param {string} baseline the id of the picture that differences are to @param {string} pinned before the ids of pictures of another comparison */
  constructor(root, baseline, pinned) {
    this.root = root;
    this.pinned = pinned;
    this.outer = /** @type {HTMLElement} */ (root.closest("#stage") ?? root);
    this.baselineId = baseline;
    this.viewport = this.find(".stage-viewport");
    this.panes = this.find(".stage-panes");
    this.wiper = /** @type {HTMLInputElement} */ (this.find(".stage-wiper"));
    this.strength = /** @type {HTMLInputElement} */ (this.find("[data-strength] input"));
    this.kind = /** @type {HTMLSelectElement} */ (this.find("[data-kind]"));
    this.block = /** @type {HTMLSelectElement} */ (this.find("[data-block]"));
    this.step = /** @type {HTMLInputElement} */ (this.find("[data-step] input"));
    this.status = this.find(".stage-status");
    this.spots = new Spots();
    this.connect();
    new Gestures(this);
  }

  /** @param {string} selector */
  find(selector) {
    return /** @type {HTMLElement} */ (this.root.querySelector(selector));
  }

  /** @param {string} selector */
  all(selector) {
    return /** @type {NodeListOf<HTMLElement>} */ (this.root.querySelectorAll(selector));
  }

  // What there is

  /** @param {Picture[]} pictures */
  setPictures(pictures) {
    if (JSON.stringify(pictures.map(urlOf)) !== JSON.stringify(this.pictures.map(urlOf))) this.mark = null;
    // Those that are newly beside each other are seen, before what was chosen without them.
    if (this.pinnedOf(pictures) !== this.pinnedOf(this.pictures)) this.choices.clear();
    this.pictures = pictures;
    for (const { id } of pictures) {
      if (!this.choices.has(id)) this.choices.set(id, this.chosen.length < AT_ONCE);
    }
    this.setStatus("");
    this.draw();
  }

  /** @param {string | null} id */
  picture(id) {
    return this.pictures.find((picture) => picture.id === id);
  }

  get baseline() {
    return this.picture(this.baselineId);
  }

  /** What pictures are pinned. @param {Picture[]} pictures */
  pinnedOf(pictures) {
    return pictures.flatMap(({ id, name }) => (id.startsWith(this.pinned) ? [id, name] : [])).join(" ");
  }

  /** The picture that differences of this one are to. @param {Picture} picture */
  baselineOf({ id }) {
    return (id.startsWith(this.pinned) && this.picture(this.pinned + this.baselineId)) || this.baseline;
  }

  get others() {
    return this.pictures.filter((picture) => picture.id !== this.baselineId);
  }

  /** What is seen first where only one is. */
  get best() {
    return this.pictures.find(({ best }) => best);
  }

  get chosen() {
    return this.pictures.filter(({ id }) => this.choices.get(id));
  }

  get isNarrow() {
    return this.width <= NARROW;
  }

  /** Whether one picture is seen at a time, out of all. */
  get takesTurns() {
    return this.mode === "blink" || (this.isNarrow && this.mode !== "wipe");
  }

  /** The picture that is seen where only one is. */
  get currentPicture() {
    const best = this.isNarrow ? this.best : undefined;
    return this.picture(this.current) ?? best ?? this.pictures[0];
  }

  /** The pictures that are seen. */
  get seen() {
    if (this.mode === "wipe") return this.wiped;
    if (this.takesTurns) return [this.currentPicture];
    return this.chosen.length ? this.chosen : this.pictures.slice(0, AT_ONCE);
  }

  /** The two pictures of a wipe; the same one twice if there is but one. */
  get wiped() {
    const left = this.picture(this.pair.left) ?? this.baseline ?? this.pictures[0];
    const right = this.picture(this.pair.right) ?? this.pictures.filter((picture) => picture !== left).at(-1) ?? left;
    return [left, right];
  }

  get showsMap() {
    return this.kind.value === "flip" && this.pictures.some((picture) => picture.flip);
  }

  /** @returns {Pane[]} */
  get scene() {
    if (!this.pictures.length) return [];
    /** @param {Picture} picture @returns {Layer[]} */
    const heldOver = (picture) => {
      const baseline = this.baselineOf(picture);
      return baseline ? [{ kind: "held", picture: baseline }] : [];
    };
    if (this.mode === "wipe") {
      const [left, right] = this.wiped;
      /** @type {Layer[]} */
      const layers = [{ kind: "picture", picture: left }, { kind: "right", picture: right }, ...heldOver(right)];
      return [{ id: "wipe", layers, captions: [left, right], tags: [left.label, right.label] }];
    }
    if (this.mode === "blink") {
      const current = this.currentPicture;
      const layers = this.pictures.map((picture) => /** @type {Layer} */ ({ kind: "picture", picture }));
      const number = this.pictures.indexOf(current) + 1;
      return [{ id: "blink", layers: [...layers, ...heldOver(current)], captions: [current], tags: [number + " " + current.label] }];
    }
    return this.seen.map((picture) => ({
      id: picture.id,
      layers: [...this.layersOf(picture), ...heldOver(picture)],
      captions: [picture],
      tags: this.mode === "tokens" ? this.countsOf(picture) : [],
    }));
  }

  /** @param {Picture} picture @returns {Layer[]} */
  layersOf(picture) {
    if (this.mode === "tokens" && picture.tokens) return [{ kind: "picture", picture }, { kind: "tokens", picture }];
    const baseline = this.baselineOf(picture);
    const differs = this.mode === "difference" && baseline?.file && picture !== baseline && picture.file;
    if (!differs || !baseline) return [{ kind: "picture", picture }];
    if (this.showsMap) return [{ kind: "map", picture }];
    return [{ kind: "picture", picture }, { kind: "difference", picture: baseline }];
  }

  /** What stands for each token of a picture in the step that is shown; null: not known yet. @param {Picture} picture */
  tokensOf({ tokens }) {
    const pixels = tokens && this.tokenPixels.get(tokens.file.url);
    return pixels ? standsFor(pixels, tokens, Number(this.block.value), this.step.valueAsNumber - 1) : null;
  }

  /** @param {Picture} picture @returns {string[]} */
  countsOf(picture) {
    if (!picture.tokens) return picture.preview || !picture.file ? [] : ["all tokens"];
    const others = this.tokensOf(picture);
    return others ? [others.filter((other, at) => other === at).length + " of " + others.length + " tokens"] : [];
  }

  /** Fetch the tokens of the pictures that are seen, and draw again when they are there. */
  async fetchTokens() {
    const missing = this.seen.flatMap(({ tokens }) => (tokens && !this.tokenPixels.has(tokens.file.url) ? [tokens] : []));
    for (const { file } of missing) this.tokenPixels.set(file.url, null);
    for (const { file, blocks, steps, rows, columns } of missing) {
      const pixels = await pixelsOf(file.url, columns, rows * steps * blocks).catch(() => null);
      if (pixels) this.tokenPixels.set(file.url, pixels);
      else this.setStatus("The tokens cannot be read. Are they still there?");
    }
    if (missing.length) this.draw();
  }

  // What is done with it

  /** @param {Mode} mode */
  setMode(mode) {
    window.clearTimeout(this.introduction);
    this.mode = mode;
    const isBare = mode === "difference" && this.takesTurns && this.currentPicture === this.baseline;
    if (isBare && this.others.length) this.current = (this.best ?? this.others[0]).id; // Baseline has no difference
    this.setStatus("");
    this.draw();
  }

  /** Show this one where only one is seen. @param {Picture | undefined} picture */
  switchTo(picture) {
    if (!picture) return;
    this.current = picture.id;
    this.draw();
  }

  /** @param {Picture} picture */
  toggle(picture) {
    const isChosen = this.choices.get(picture.id);
    if (isChosen ? this.chosen.length === 1 : this.chosen.length >= AT_ONCE) {
      this.setStatus(isChosen ? "One picture stays." : "Up to " + AT_ONCE + " pictures fit beside each other.");
      return;
    }
    this.setStatus("");
    this.choices.set(picture.id, !isChosen);
    this.draw();
  }

  /** Show Baseline everywhere, for as long as something is held. @param {"key" | "pointer" | null} by null: let go */
  hold(by) {
    this.heldBy = this.baseline ? by : null;
    setAttribute(this.root, "data-held", Boolean(this.heldBy));
  }

  /** @param {number} percent */
  setWipe(percent) {
    this.wipe = clamp(percent, 0, 100);
    this.wiper.value = String(this.wipe);
    this.root.style.setProperty("--wipe", this.wipe + "%");
  }

  /** Change the view, by a glide if it is a jump. @param {(view: View) => void} change @param {boolean} glides */
  look(change, glides = false) {
    setAttribute(this.root, "data-glides", glides);
    change(this.view);
    if (this.view.zoom === 1) this.mark = null;
    if (this.mode === "tokens" && this.measureTokens()) this.draw();
    else this.drawView();
  }

  /** Jump to one of the spots where what is seen differs most from Baseline. @param {number} number from 0 */
  async jump(number) {
    const baseline = this.baseline;
    /** @param {Picture} picture */
    const isComparable = (picture) => picture !== baseline && picture.file && this.baselineOf(picture) === baseline;
    const seen = this.seen.filter(isComparable);
    const compared = seen.length ? seen : this.others.filter(isComparable);
    if (!baseline?.file || !compared.length) {
      this.setStatus("There is nothing to compare with Baseline yet.");
      return;
    }
    const spots = await this.spots.find(baseline, compared).catch(() => null);
    if (!spots) {
      this.setStatus("The pictures cannot be read. Are they still there?");
      return;
    }
    const spot = spots[number];
    if (!spot) {
      const few = spots.length === 1 ? "Only 1 place differs." : "Only " + spots.length + " places differ.";
      this.setStatus(spots.length ? few : "No pixel differs from Baseline.");
      return;
    }
    this.setStatus("");
    this.mark = spot;
    this.look((view) => view.show(SPOT_ZOOM, spot.x, spot.y), true);
  }

  async toggleFullScreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await this.outer.requestFullscreen();
  }

  /** @param {string} sentence "" to say nothing */
  setStatus(sentence) {
    setText(this.status, sentence);
    this.find(".stage-hint").hidden = Boolean(sentence);
  }

  /** Show the difference for a moment. */
  async introduce() {
    const isQuiet = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (isQuiet || !this.baseline || !this.others.length) return;
    this.setMode("difference");
    await Promise.allSettled([...this.images.values()].map((image) => image.decode()));
    if (this.mode === "difference") {
      this.introduction = window.setTimeout(() => this.setMode("side-by-side"), INTRODUCTION);
    }
  }

  connect() {
    for (const button of this.all("[data-mode-button]")) {
      button.addEventListener("click", () => this.setMode(/** @type {Mode} */ (button.dataset.modeButton)));
    }
    for (const button of this.all("[data-spot]")) {
      button.addEventListener("click", () => this.jump(Number(button.dataset.spot)));
    }
    for (const button of this.all("[data-zoom]")) {
      button.addEventListener("click", () => this.zoomBy(/** @type {string} */ (button.dataset.zoom)));
    }
    for (const select of /** @type {NodeListOf<HTMLSelectElement>} */ (this.all("[data-side]"))) {
      select.addEventListener("change", () => {
        this.pair[/** @type {"left" | "right"} */ (select.dataset.side)] = select.value;
        this.draw();
      });
    }
    this.kind.addEventListener("change", () => this.draw());
    for (const control of [this.strength, this.step, this.block]) {
      control.addEventListener("input", () => this.draw());
    }
    this.wiper.addEventListener("input", () => this.setWipe(this.wiper.valueAsNumber));

    const hold = this.find("[data-hold]");
    hold.addEventListener("pointerdown", () => this.hold("pointer"));
    for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
      hold.addEventListener(end, () => this.hold(null));
    }
    hold.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch
    hold.addEventListener("keydown", (event) => {
      if (event.key === " " || event.key === "Enter") this.hold("key");
    });

    const fullScreen = this.find("[data-full-screen]");
    fullScreen.hidden = !document.fullscreenEnabled; // phones that have it for films only
    fullScreen.addEventListener("click", () => this.toggleFullScreen());
    this.outer.addEventListener("fullscreenchange", () => {
      setAttribute(fullScreen, "aria-pressed", String(document.fullscreenElement === this.outer));
      this.measure();
      this.draw();
    });

    this.outer.addEventListener("keydown", (event) => this.onKey(event));
    for (const end of ["keyup", "focusout"]) {
      this.outer.addEventListener(end, () => this.heldBy === "key" && this.hold(null));
    }
    new ResizeObserver(() => {
      if (this.measure()) this.draw();
    }).observe(this.root);
    this.measure();
  }

  /** @returns {boolean} whether the width has changed */
  measure() {
    const before = this.width;
    this.width = this.root.clientWidth || this.width || window.innerWidth; // 0 as long as it is not shown
    return this.width !== before;
  }

  /** @returns {boolean} whether tokens have become large, or small */
  measureTokens() {
    const columns = Math.max(...this.seen.map(({ tokens }) => tokens?.columns ?? 1));
    const width = this.panes.querySelector(".stage-frame")?.clientWidth ?? 0;
    const before = this.hasLargeTokens;
    this.hasLargeTokens = (width * this.view.zoom) / columns >= LARGE_TOKEN;
    return this.hasLargeTokens !== before;
  }

  /** @param {string} which */
  zoomBy(which) {
    this.look((view) => (which === "reset" ? view.reset() : view.zoomAt(which === "in" ? 1.5 : 1 / 1.5)), true);
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || target.tagName === "SELECT") return;
    if (this.takeKey(event, target)) event.preventDefault();
  }

  /** @param {KeyboardEvent} event @param {HTMLElement} target @returns {boolean} whether it means something here */
  takeKey(event, target) {
    const zoom = { "+": "in", "=": "in", "-": "out", 0: "reset" }[event.key];
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (zoom) {
      this.zoomBy(zoom);
    } else if (event.key >= "1" && event.key <= "9" && this.takesTurns) {
      this.switchTo(this.pictures[Number(event.key) - 1]);
    } else if (event.key.toLowerCase() === "b") {
      this.hold("key");
    } else if (arrow && target === this.wiper) {
      this.setWipe(this.wipe + (arrow[0] - arrow[1]) * (event.shiftKey ? 1 : 5));
    } else if (arrow && target === this.viewport && this.view.zoom > 1) {
      this.look((view) => view.pan(-arrow[0] / 8, -arrow[1] / 8));
    } else {
      return false;
    }
    return true;
  }

  // How it is drawn

  draw() {
    const isEmpty = !this.pictures.length;
    setAttribute(this.outer, "data-mode", this.mode);
    setAttribute(this.root, "data-narrow", this.isNarrow);
    for (const part of this.all(".stage-bar, .stage-options, .stage-viewport")) part.hidden = isEmpty;
    this.find(".stage-empty").hidden = !isEmpty;
    this.drawControls();
    const scene = this.scene;
    const shape = JSON.stringify(
      scene.map(({ id, layers }) => [id, layers.map(({ kind, picture }) => [kind, picture.id, !fileOf(kind, picture)])]),
    );
    if (shape !== this.drawn) {
      this.drawn = shape;
      this.panes.replaceChildren(...scene.map((pane) => this.newPane(pane)));
    }
    this.layOut(scene.length);
    if (this.mode === "tokens") {
      this.fetchTokens();
      this.measureTokens();
    }
    const isColoured = this.mode === "tokens" && this.hasLargeTokens;
    setText(this.find(".stage-hint"), isColoured ? COLOURS_HINT : HINTS[this.mode]);
    scene.forEach((pane, index) => this.drawPane(/** @type {HTMLElement} */ (this.panes.children[index]), pane));
    this.forgetGone();
    this.setWipe(this.wipe);
    this.drawView();
  }

  drawControls() {
    const hasBaseline = Boolean(this.baseline);
    const canDiffer = hasBaseline && this.others.length > 0;
    const withTokens = this.pictures.filter(({ tokens }) => tokens);
    for (const button of this.all("[data-mode-button]")) {
      setAttribute(button, "aria-pressed", String(button.dataset.modeButton === this.mode));
      if (button.dataset.modeButton === "difference") setAttribute(button, "disabled", !canDiffer);
      if (button.dataset.modeButton === "tokens") setAttribute(button, "disabled", !withTokens.length);
    }
    const steps = Math.max(1, ...withTokens.map(({ tokens }) => tokens?.steps ?? 1));
    this.step.max = String(steps);
    setText(this.find("[data-step] output"), this.step.value + " of " + steps);
    for (const button of this.all("[data-spot]")) setAttribute(button, "disabled", !canDiffer);
    setAttribute(this.find("[data-hold]"), "disabled", !hasBaseline);
    for (const option of this.all("[data-option]")) option.hidden = option.dataset.option !== this.mode;
    this.wiper.hidden = this.mode !== "wipe";

    const hasMaps = this.pictures.some((picture) => picture.flip);
    this.find("[data-kinds]").hidden = !hasMaps;
    this.find("[data-strength]").hidden = this.showsMap;
    setText(this.find("[data-strength] output"), this.strength.value + "×");
    this.root.style.setProperty("--strength", this.strength.value);
    this.drawChips();
    this.drawSelects();
  }

  drawChips() {
    const chips = this.find(".stage-chips");
    chips.hidden = this.mode === "wipe" || this.pictures.length < 2;
    if (chips.children.length !== this.pictures.length) {
      chips.replaceChildren(
        ...this.pictures.map((_, index) => {
          const chip = make("button", { type: "button", class: "stage-chip" }, make("i", { "aria-hidden": "true" }), make("span"));
          chip.addEventListener("click", () => {
            const picture = this.pictures[index];
            if (this.takesTurns) this.switchTo(picture);
            else this.toggle(picture);
          });
          return chip;
        }),
      );
    }
    const seen = this.seen;
    this.pictures.forEach((picture, index) => {
      const chip = /** @type {HTMLElement} */ (chips.children[index]);
      setText(/** @type {HTMLElement} */ (chip.lastElementChild), picture.label);
      setAttribute(chip, "aria-pressed", String(seen.includes(picture)));
      chip.style.setProperty("--colour", picture.colour ?? "currentColor");
    });
    this.bringInSight(chips, seen);
  }

  /**
   * On a phone the chips are a row that scrolls: the one of the picture that is shown is whole in it.
   * @param {HTMLElement} chips
   * @param {Picture[]} seen
   */
  bringInSight(chips, seen) {
    const shown = seen.length === 1 ? seen[0].id : "";
    if (chips.dataset.shown === shown) return; // or somebody who scrolls would be pulled back
    chips.dataset.shown = shown;
    const chip = /** @type {HTMLElement | undefined} */ (chips.children[this.pictures.indexOf(seen[0])]);
    if (shown && chip) chips.scrollLeft = chip.offsetLeft - (chips.clientWidth - chip.offsetWidth) / 2;
  }

  drawSelects() {
    if (!this.pictures.length) return;
    const options = JSON.stringify(this.pictures.map(({ id, label }) => [id, label]));
    /** @type {NodeListOf<HTMLSelectElement>} */ (this.all("[data-side]")).forEach((select, index) => {
      if (select.dataset.options !== options) {
        select.dataset.options = options;
        select.replaceChildren(...this.pictures.map(({ id, label }) => make("option", { value: id }, label)));
      }
      select.value = this.wiped[index].id;
    });
  }

  /** @param {Pane} pane */
  newPane({ id, layers, captions }) {
    const stack = make(
      "div",
      { class: "stage-stack" },
      ...layers.map(({ kind, picture }) => {
        const layer = make("div", { class: "stage-layer", "data-layer": kind, "data-picture": picture.id });
        if (kind === "tokens") {
          layer.append(make("canvas", { "aria-hidden": "true" }));
          return layer;
        }
        const isMissing = !fileOf(kind, picture);
        layer.append(isMissing ? make("p", {}, kind === "map" ? "No map yet." : "") : this.image(id, kind, picture));
        return layer;
      }),
    );
    const frame = make("div", { class: "stage-frame" }, stack, make("div", { class: "stage-tags", "aria-hidden": "true" }));
    const lines = captions.map(() =>
      make(
        "div",
        { class: "stage-caption" },
        make("p", {}, make("i", { "aria-hidden": "true" }), make("b"), make("span")),
        make("a", { class: "stage-download" }, "↓"),
      ),
    );
    for (const line of lines) line.lastElementChild?.addEventListener("click", download);
    return make("figure", { class: "stage-pane", "data-pane": id }, make("figcaption", {}, ...lines), frame);
  }

  /** @param {HTMLElement} element @param {Pane} pane */
  drawPane(element, { id, layers, captions, tags }) {
    const current = this.currentPicture;
    layers.forEach(({ kind, picture }, index) => {
      const layer = /** @type {HTMLElement} */ (element.querySelectorAll(".stage-layer")[index]);
      const isSeen = this.mode !== "blink" || kind === "held" || picture === current;
      setAttribute(layer, "data-away", !isSeen);
      const others = kind === "tokens" && this.tokensOf(picture);
      if (others && picture.tokens) {
        const canvas = /** @type {HTMLCanvasElement} */ (layer.firstElementChild);
        drawTokens(canvas, others, picture.tokens, this.hasLargeTokens);
      }
      const file = fileOf(kind, picture);
      if (!file || kind === "tokens") return;
      const image = this.image(id, kind, picture);
      setAttribute(image, "src", file.url);
      image.alt = kind === "held" || kind === "difference" || !isSeen ? "" : picture.alt;
    });
    const stack = /** @type {HTMLElement} */ (element.querySelector(".stage-stack"));
    setAttribute(stack, "data-brightened", layers.some(({ kind }) => kind === "difference"));
    const tagBar = /** @type {HTMLElement} */ (element.querySelector(".stage-tags"));
    if (tagBar.textContent !== tags.join("")) tagBar.replaceChildren(...tags.map((tag) => make("span", {}, tag)));
    captions.forEach((picture, index) => this.drawCaption(element.querySelectorAll(".stage-caption")[index], picture));
  }

  /** @param {Element} line @param {Picture} picture */
  drawCaption(line, picture) {
    setText(/** @type {Element} */ (line.querySelector("b")), picture.label);
    setText(/** @type {Element} */ (line.querySelector("span")), picture.caption);
    /** @type {HTMLElement} */ (line).style.setProperty("--colour", picture.colour ?? "currentColor");
    const link = /** @type {HTMLAnchorElement} */ (line.querySelector("a"));
    const canDownload = Boolean(picture.file) && !picture.preview;
    link.hidden = !canDownload;
    setAttribute(link, "href", canDownload && picture.file ? picture.file.url : false);
    setAttribute(link, "download", picture.name);
    setAttribute(link, "aria-label", "Download " + picture.name);
    setAttribute(link, "title", "Download " + picture.name);
  }

  /** @param {string} pane @param {string} kind @param {Picture} picture */
  image(pane, kind, picture) {
    const key = [pane, kind, picture.id].join(" ");
    let image = this.images.get(key);
    if (!image) {
      image = /** @type {HTMLImageElement} */ (make("img", { draggable: "false", decoding: "sync" }));
      this.images.set(key, image);
    }
    return image;
  }

  /** What pictures that are gone had. */
  forgetGone() {
    const ids = new Set(this.pictures.map(({ id }) => id));
    for (const key of this.images.keys()) {
      const id = key.slice(key.lastIndexOf(" ") + 1);
      if (!ids.has(id)) this.images.delete(key);
    }
    const files = new Set(this.pictures.map(({ tokens }) => tokens?.file.url));
    for (const url of this.tokenPixels.keys()) {
      if (!files.has(url)) this.tokenPixels.delete(url);
    }
  }

  /** @param {number} panes how many */
  layOut(panes) {
    const [first] = this.pictures;
    if (!first) return;
    const columns = this.columnsFor(panes, first.width / first.height);
    const { style } = this.root;
    style.setProperty("--ratio", String(first.width / first.height));
    style.setProperty("--columns", String(columns));
    style.setProperty("--rows", String(Math.ceil(panes / columns)));
  }

  /** One row, if pictures do not get too small in it; in full screen what makes them largest. @param {number} panes @param {number} ratio */
  columnsFor(panes, ratio) {
    if (document.fullscreenElement !== this.outer) {
      return this.width / panes >= LEAST_WIDTH ? panes : Math.ceil(panes / 2);
    }
    /** @param {number} columns */
    const widthIn = (columns) => {
      const rows = Math.ceil(panes / columns);
      return Math.min(this.width / columns, ((window.innerHeight - 128) / rows - 44) * ratio); // as in stage.css
    };
    const all = Array.from({ length: panes }, (_, index) => index + 1);
    return all.reduce((best, columns) => (widthIn(columns) > widthIn(best) ? columns : best), 1);
  }

  drawView() {
    const { zoom, x, y } = this.view;
    const { style } = this.root;
    style.setProperty("--zoom", String(zoom));
    style.setProperty("--x", (0.5 - x * zoom) * 100 + "%");
    style.setProperty("--y", (0.5 - y * zoom) * 100 + "%");
    if (this.mark && zoom > 1) {
      style.setProperty("--mark-x", (0.5 + (this.mark.x - x) * zoom) * 100 + "%");
      style.setProperty("--mark-y", (0.5 + (this.mark.y - y) * zoom) * 100 + "%");
      style.setProperty("--mark-width", this.mark.width * zoom * 100 + "%");
    }
    setAttribute(this.root, "data-marked", this.mark !== null && zoom > 1);
    setAttribute(this.root, "data-zoomed", zoom > 1);
    setAttribute(this.root, "data-sharp", zoom > SHARP_FROM);
    const reset = this.find("[data-zoom=reset]");
    const shown = Math.round(100 * zoom) + "%";
    setText(reset, shown);
    setAttribute(reset, "aria-label", "Reset zoom, now " + shown);
  }
}

/** Wheel, drag and pinch over the pictures. */
class Gestures {
  /** Fingers, or the mouse, that are down, by pointer id. @type {Map<number, PointerEvent>} */ down = new Map();
  /** The frame that the first went down on. @type {Element | null} */ frame = null;
  wipes = false;
  hasMoved = false; // the mouse, since the wheel scrolled the page
  mouse = { x: NaN, y: NaN }; // where it was when the wheel scrolled the page
  zoomedAt = -Infinity; // when the wheel last zoomed

  /** @param {Stage} stage */
  constructor(stage) {
    this.stage = stage;
    const { viewport } = stage;
    viewport.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    viewport.addEventListener("pointerdown", (event) => this.onDown(event));
    viewport.addEventListener("pointermove", (event) => this.onMove(event));
    viewport.addEventListener("pointerup", (event) => this.onUp(event));
    viewport.addEventListener("pointercancel", (event) => this.onUp(event));
    viewport.addEventListener("dblclick", () => {
      if (this.frame) stage.look((view) => view.reset(), true);
    });
    // Two fingers are a pinch, never a scroll of the page.
    viewport.addEventListener("touchstart", (event) => event.touches.length > 1 && event.preventDefault(), {
      passive: false,
    });
    window.addEventListener("wheel", (event) => this.onAnyWheel(event), { passive: true });
  }

  /** @param {Event} event */
  frameOf(event) {
    return /** @type {Element} */ (event.target).closest(".stage-frame");
  }

  /** Where on a frame, 0 to 1. @param {{clientX: number, clientY: number}} point @param {Element} frame */
  at({ clientX, clientY }, frame) {
    const box = frame.getBoundingClientRect();
    return { x: (clientX - box.left) / box.width, y: (clientY - box.top) / box.height, box };
  }

  /**
   * The wheel zooms if it cannot be meant for the page: a mouse that lies still while the page moves below it
   * scrolls on, over pictures too, and so does a wheel that would zoom out of a whole picture.
   * @param {WheelEvent} event
   */
  onWheel(event) {
    const frame = this.frameOf(event);
    if (!frame) return;
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1);
    const factor = Math.exp(-pixels * (event.ctrlKey ? PINCH_STEP : WHEEL_STEP));
    const { zoom } = this.stage.view;
    const canZoom = factor > 1 ? zoom < MOST_ZOOM : zoom > 1;
    const isMeant = event.ctrlKey || this.hasMoved || zoom > 1;
    if (canZoom && isMeant) {
      event.preventDefault();
      this.zoomedAt = event.timeStamp;
      const { x, y } = this.at(event, frame);
      this.stage.look((view) => view.zoomAt(factor, x, y));
    } else if (event.timeStamp - this.zoomedAt < SWALLOW) {
      event.preventDefault(); // the rest of the same turn
      this.zoomedAt = event.timeStamp;
    }
  }

  /** @param {WheelEvent} event */
  onAnyWheel(event) {
    if (event.defaultPrevented) return;
    this.hasMoved = false;
    this.mouse = { x: event.clientX, y: event.clientY };
  }

  /** @param {PointerEvent} event */
  onDown(event) {
    const frame = this.frameOf(event);
    if (!this.down.size) this.frame = frame;
    if (!frame || event.button !== 0) return;
    const { stage } = this;
    this.down.set(event.pointerId, event);
    stage.viewport.setPointerCapture(event.pointerId);
    this.wipes = stage.mode === "wipe" && this.down.size === 1 && this.isForWipe(event, frame);
    if (this.wipes) {
      event.preventDefault(); // the focus goes to the slider, for the arrow keys
      stage.wiper.focus({ preventScroll: true });
      if (event.pointerType !== "touch") this.wipeTo(event); // a finger may be about to scroll
    }
  }

  /** In an enlarged picture only the divider wipes; a drag elsewhere moves the picture. @param {PointerEvent} event @param {Element} frame */
  isForWipe(event, frame) {
    if (this.stage.view.zoom === 1) return true;
    const { x, box } = this.at(event, frame);
    return Math.abs(x * box.width - (this.stage.wipe / 100) * box.width) < 22;
  }

  /** @param {PointerEvent} event */
  wipeTo(event) {
    if (this.frame) this.stage.setWipe(this.at(event, this.frame).x * 100);
  }

  /** @param {PointerEvent} event */
  onMove(event) {
    // Browsers also say that a mouse moves when the page moves below it.
    if (event.clientX !== this.mouse.x || event.clientY !== this.mouse.y) this.hasMoved = true;
    const before = this.down.get(event.pointerId);
    if (!before || !this.frame) return;
    if (this.down.size === 2) this.pinch(before, event, this.frame);
    else if (this.wipes) this.wipeTo(event);
    else this.move(before, event, this.frame);
    this.down.set(event.pointerId, event);
  }

  /** @param {PointerEvent} before @param {PointerEvent} after @param {Element} frame */
  move(before, after, frame) {
    const box = frame.getBoundingClientRect();
    const dx = (after.clientX - before.clientX) / box.width;
    const dy = (after.clientY - before.clientY) / box.height;
    this.stage.look((view) => view.pan(dx, dy));
  }

  /** @param {PointerEvent} before @param {PointerEvent} after @param {Element} frame */
  pinch(before, after, frame) {
    const other = [...this.down.values()].find((pointer) => pointer.pointerId !== after.pointerId);
    if (!other) return;
    /** @param {PointerEvent} one */
    const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    /** @param {PointerEvent} one */
    const middle = (one) => ({ clientX: (one.clientX + other.clientX) / 2, clientY: (one.clientY + other.clientY) / 2 });
    const from = this.at(middle(before), frame);
    const to = this.at(middle(after), frame);
    this.stage.look((view) => {
      view.zoomAt(apart(after) / Math.max(apart(before), 1), from.x, from.y);
      view.pan(to.x - from.x, to.y - from.y);
    });
  }

  /** @param {PointerEvent} event */
  onUp(event) {
    const isTap = this.wipes && event.type === "pointerup" && this.down.size === 1;
    if (isTap) this.wipeTo(event);
    this.down.delete(event.pointerId);
    if (!this.down.size) this.wipes = false;
  }
}

/** Finds where pictures differ most. */
class Spots {
  /** @type {Map<string, Promise<Spot[]>>} */ found = new Map();

  /**
   * The places, 0 to 1, far from each other, where the mean difference of a small square is largest.
   * @param {Picture} baseline @param {Picture[]} pictures of which the one that differs most counts
   */
  find(baseline, pictures) {
    const urls = [baseline, ...pictures].map(({ file }) => /** @type {{url: string}} */ (file).url);
    const key = urls.join(" ");
    let spots = this.found.get(key);
    if (!spots) {
      spots = this.search(urls, baseline.width, baseline.height);
      this.found.clear();
      this.found.set(key, spots);
    }
    return spots;
  }

  /** @param {string[]} urls Baseline's first @param {number} width @param {number} height */
  async search(urls, width, height) {
    const scale = Math.min(1, 512 / Math.max(width, height)); // the means of a square are the same on a smaller picture
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    const [theirs, ...all] = await Promise.all(urls.map((url) => pixelsOf(url, w, h)));
    const side = Math.max(4, Math.round(Math.max(w, h) / 16));
    const step = Math.max(1, Math.floor(side / 4));
    const squares = new Map();
    for (const ours of all) {
      const sums = summed(ours, theirs, w, h);
      for (let y = 0; y + side <= h; y += step) {
        for (let x = 0; x + side <= w; x += step) {
          const at = (/** @type {number} */ dx, /** @type {number} */ dy) => sums[(y + dy) * (w + 1) + x + dx];
          const sum = at(side, side) - at(0, side) - at(side, 0) + at(0, 0);
          const key = y * w + x;
          if (sum > (squares.get(key)?.sum ?? 0)) {
            squares.set(key, { sum, x: (x + side / 2) / w, y: (y + side / 2) / h, width: side / w });
          }
        }
      }
    }
    /** @type {Spot[]} */
    const spots = [];
    for (const square of [...squares.values()].sort((one, other) => other.sum - one.sum)) {
      if (spots.every((spot) => Math.hypot(spot.x - square.x, spot.y - square.y) > 0.2)) spots.push(square);
      if (spots.length === SPOTS) break;
    }
    return spots;
  }
}

/** RGBA of a picture at a size. @param {string} url @param {number} width @param {number} height */
async function pixelsOf(url, width, height) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

/** At each corner of a pixel, the sum of all differences above and to the left of it. @param {Uint8ClampedArray} ours @param {Uint8ClampedArray} theirs @param {number} width @param {number} height */
function summed(ours, theirs, width, height) {
  const sums = new Float64Array((width + 1) * (height + 1));
  for (let y = 0; y < height; y++) {
    let row = 0;
    for (let x = 0; x < width; x++) {
      const pixel = (y * width + x) * 4;
      for (let channel = 0; channel < 3; channel++) row += Math.abs(ours[pixel + channel] - theirs[pixel + channel]);
      sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1] + row;
    }
  }
  return sums;
}

const theStage = new Stage(element, props.baseline, props.pinned);
theStage.setPictures(props.value || []);
watch("value", () => theStage.setPictures(props.value || []));
if (props.introduce) theStage.introduce();
