"""The page: `python app.py`. ToDo, ToMe and the unchanged model side by side, in a browser and as an API."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from server.process import end_on_signal

    end_on_signal()

import io
import logging
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from compare import (
    Comparison,
    InvalidRequest,
    LoadedPipeline,
    Method,
    ModelNotLoaded,
    RunFailed,
    load_comparison,
    load_pipeline,
)
from compare.experiment.device import environment
from compare.methods import known_methods, missing_methods
from compare.request import SEEDS, SIZE_MULTIPLE, SIZES
from page.api import SETTINGS, endpoint, named
from page.html import message, render
from page.pictures import Album, Pictures
from page.theme import STYLE_SHEET, THEME
from page.updates import Pane, RunUpdates, Script, Session, Shown, Updates, View, Wipe
from server.front_door.door import FrontDoor
from server.front_door.visits import Visit, visit_of
from server.health import Health
from server.limits import Limits
from server.log import log_as_json, log_what_is_printed
from server.options import ServerOptions, parse_options
from server.process import raise_open_files_limit, temporary_folder, wait_for_shutdown_signal
from server.runs import TO_STOP, Runs
from server.zero_gpu import runner

EXAMPLE = Path(__file__).resolve().parent / "assets" / "example"
LAST_WORDS = 1.0  # seconds in which visitors get the last events, and the pictures that these name
TO_END = TO_STOP + LAST_WORDS + 0.5  # seconds that the process has for its end, after the grace
ENDPOINT = "compare"
OF_GRADIO = {
    "FORWARDED_ALLOW_IPS": "",  # uvicorn lets nobody choose who they are: the front door knows
    # Statistics on the last 10,000 calls, made anew after each, which nobody sees.
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**12),
}
SESSIONS = 200  # whose last result is kept
GONE = f"This result is gone: the server keeps those of its last {SESSIONS} visitors. Press Compare again."
ANOTHER = "Stopped: this window asked for another comparison."
LOG = logging.getLogger("app")

# As PNG: webp, the default, loses pixels and the settings that are written into the file.
PICTURE = {"format": "png", "interactive": False, "show_label": False, "container": False}
OF_THE_PAGE = {"api_visibility": "private", "show_progress": "hidden"}
ANNOUNCE = "element.setAttribute('aria-live', 'polite')"  # screen readers read out what changes


class Page:
    """The app, as `blocks`, and its handlers."""

    def __init__(
        self,
        loaded: LoadedPipeline,
        example: Comparison | None,
        limits: Limits | None = None,
        log_prompts: bool = False,
    ) -> None:
        self.loaded = loaded
        self.runs = Runs(runner(loaded), limits or Limits(), log_prompts)
        self.files = Pictures(get_upload_folder())
        self.compare = endpoint(self.runs, self.files, _visit)
        self.first_view = Shown(
            album=Album(self.files),
            request=example.request if example else None,
            comparison=example,
            whose="An example, made earlier by this code",
            unfinished="Nothing here yet.",
        )
        with gr.Blocks(title="ToDo vs ToMe", analytics_enabled=False, fill_width=True) as self.blocks:
            self._lay_out()
            self._connect()
            self._add_endpoint()
        # Gradio's queue lets them all start: runs wait in the queue of `server.runs`, and the page says so.
        self.blocks.queue(max_size=self.threads, default_concurrency_limit=16, api_open=False)

    @property
    def threads(self) -> int:
        """How many handlers may run at once: one for each run in the queue, and the others."""
        return self.runs.limits.in_line + 40

    # Layout

    def _lay_out(self) -> None:
        session = gr.State(Session())
        gr.HTML(render("heading", loaded=self.loaded, environment=environment(self.loaded.device)))
        with gr.Column(elem_classes="controls"):
            prompts = self._add_prompts()
            numbers = self._add_numbers()
            gr.HTML(render("settings_help", sizes=SIZES, multiple=SIZE_MULTIPLE, limits=self.runs.limits))
            with gr.Row(elem_classes="go"):
                methods = gr.CheckboxGroup(
                    [(method.label, method.id) for method in known_methods()],
                    value=[method.id for method in known_methods() if method.preselected],
                    label="Methods",
                    elem_id="methods",
                    scale=4,
                    min_width=280,
                )
                compare = gr.Button("Compare", variant="primary", elem_id="compare", min_width=120)
                stop = gr.Button("Stop", interactive=False, elem_id="stop", min_width=120)
            said = gr.HTML(elem_id="message", js_on_load=ANNOUNCE)
        self.settings: dict[str, gr.components.Component] = {**prompts, **numbers, "methods": methods}
        """By the field of a `Request`."""
        about = gr.HTML(self.first_view.about, elem_id="about")
        with gr.Row(elem_classes="panes"):
            panes = {method.id: _pane(method, self.first_view) for method in known_methods()}
        gr.HTML(render("reading_help"))
        with gr.Row(elem_classes="more"):
            wipe, script = _wipe(self.first_view), _script(self.first_view)
        self.view = View(session, compare, stop, said, about, panes, wipe, script)

    def _add_prompts(self) -> dict[str, gr.Textbox]:
        examples = self.loaded.examples
        with gr.Row():
            prompt = gr.Textbox(
                examples[0], label="Prompt", max_lines=4, scale=3, elem_id="prompt", min_width=280
            )
            negative_prompt = gr.Textbox(
                "", label="Negative prompt", max_lines=4, scale=2, elem_id="negative-prompt", min_width=200
            )
        with gr.Row(elem_classes="examples"):
            self.examples = [
                gr.Button(example, size="sm", min_width=0, elem_classes="example") for example in examples
            ]
        if self.loaded.vocabulary:
            gr.HTML(render("vocabulary", seen=self.loaded.vocabulary))
        return {"prompt": prompt, "negative_prompt": negative_prompt}

    def _add_numbers(self) -> dict[str, gr.Number]:
        defaults = self.loaded.defaults
        # No minimum, maximum or precision: they clamp and round what was typed before it is checked.
        with gr.Row(elem_classes="numbers"):
            numbers = {
                "width": gr.Number(defaults.width, label="Width", step=64, elem_id="width", min_width=80),
                "height": gr.Number(defaults.height, label="Height", step=64, elem_id="height", min_width=80),
                "factor": gr.Number(2, label="Factor", elem_id="factor", min_width=80),
                "steps": gr.Number(defaults.steps, label="Steps", elem_id="steps", min_width=80),
                "guidance_scale": gr.Number(
                    defaults.guidance_scale, label="Guidance", step=0.5, elem_id="guidance", min_width=80
                ),
                "repeats": gr.Number(1, label="Repeats", elem_id="repeats", min_width=80),
                "seed": gr.Number(0, label="Seed", elem_id="seed", min_width=120),
            }
            self.new_seed = gr.Button("New seed", elem_id="new-seed", min_width=100)
        return numbers

    # Events

    def _connect(self) -> None:
        settings, view = self.settings, self.view
        for button in self.examples:
            button.click(
                lambda prompt=button.value: prompt, None, settings["prompt"], queue=False, **OF_THE_PAGE
            )
        self.new_seed.click(
            lambda: random.randint(*SEEDS), None, settings["seed"], queue=False, **OF_THE_PAGE
        )
        gr.on(
            [view.compare_button.click, settings["prompt"].submit, settings["negative_prompt"].submit],
            self.compare_on_page,
            inputs=[view.session, *(settings[name] for name in SETTINGS)],
            outputs=view.components,
            concurrency_limit=None,  # a run that finds the queue full is refused at once
            **OF_THE_PAGE,
        )
        # A plain handler outside of gradio's queue: after `cancels=` the run would keep computing.
        view.stop_button.click(self.stop, view.session, view.stop_button, queue=False, **OF_THE_PAGE)
        gr.on(
            [view.wipe.left.input, view.wipe.right.input],
            self.show_wipe,
            inputs=[view.session, view.wipe.left, view.wipe.right, view.about],
            outputs=[view.wipe.left_picture, view.wipe.right_picture, view.message],
            trigger_mode="always_last",
            **OF_THE_PAGE,
        )
        view.script.method.input(
            self.show_script,
            inputs=[view.session, view.script.method, view.about],
            outputs=[view.script.code, view.message],
            trigger_mode="always_last",
            **OF_THE_PAGE,
        )

    def compare_on_page(self, session: Session, http: gr.Request, *settings: object) -> Iterator[Updates]:
        """Compare. Gradio may never resume it after a `yield`: it holds nothing that others need."""
        view = self.view
        try:
            job = self.runs.accept(named(settings), _visit(http), "page")
        except InvalidRequest as error:
            yield {view.message: message("error", str(error))}
            return
        if session.stop is not None:
            session.stop.ask(ANOTHER)
        session.stop = job.stop
        run = RunUpdates(view, session, job, Album(self.files))
        try:
            with self.runs.events(job) as events:
                yield run.begin()
                for event in events:
                    if session.stop is job.stop:  # what the window shows belongs to its last run
                        yield run.on(event)
        except (InvalidRequest, RunFailed) as error:
            if session.stop is job.stop:
                said = view.end(message("error", str(error)))
                try:
                    yield {**view.show(session.shown or self.first_view), **said}
                except OSError:  # no room for the pictures of before, either
                    yield said
        finally:
            if session.stop is job.stop:
                session.stop = None

    def stop(self, session: Session) -> Updates:
        """End the run of this window. The run itself says when it has ended."""
        if session.stop is not None:
            session.stop.ask()
        return gr.update(interactive=False)

    def show_wipe(
        self, session: Session, left: str, right: str, about: str | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], Any]:
        """The two pictures, and a message if they are gone."""
        if self._is_gone(session, about):
            nothing = gr.update(value=None, alt_text=None)
            return nothing, nothing, message("error", GONE)
        shown = session.shown or self.first_view
        return gr.update(**shown.picture(left)), gr.update(**shown.picture(right)), gr.skip()

    def show_script(self, session: Session, method: str, about: str | None = None) -> tuple[str, Any]:
        """The script, and a message if it is gone."""
        if self._is_gone(session, about):
            return "", message("error", GONE)
        return (session.shown or self.first_view).script(method), gr.skip()

    def _is_gone(self, session: Session, about: str | None) -> bool:
        """Whether the window shows a result, which it says in `about`, of which the server knows no more."""
        return session.shown is None and about not in (None, self.first_view.about)

    # The API

    def _add_endpoint(self) -> None:
        with gr.Row(visible=False):
            prompt = gr.Textbox(label="Prompt")  # the page's own has a default, and here it is required
            gallery = gr.Gallery(label="Pictures", format="png")
            report = gr.JSON(label="Report")
            inputs = {**self.settings, "prompt": prompt}
            gr.Button().click(
                self.compare,
                inputs=[inputs[name] for name in SETTINGS],
                outputs=[gallery, report],
                api_name=ENDPOINT,
                preprocess=False,  # it would answer nonsense with its own exceptions; `Request` checks all
                concurrency_limit=None,
            )


def _visit(http: gr.Request) -> Visit:
    return visit_of(http.request.scope)


def _pane(method: Method, shown: Shown) -> Pane:
    with gr.Column(
        visible=shown.has_pane(method), elem_classes="pane", elem_id=f"pane-{method.id}", min_width=0
    ) as column:
        gr.HTML(render("method", method=method))
        picture = gr.Image(
            **shown.picture(method.id), **PICTURE, buttons=["download", "fullscreen"], elem_classes="picture"
        )
        card = gr.HTML(shown.card(method.id))
    return Pane(column, picture, card)


def _wipe(shown: Shown) -> Wipe:
    left, right = shown.pair
    with gr.Column(visible=len(shown.results) > 1, min_width=320, elem_id="wipe-column") as column:
        gr.HTML("<h2>Wipe between two</h2>")
        with gr.Row():
            choices = [
                gr.Dropdown(shown.choices, value=value, label=label, elem_id=label.lower(), min_width=120)
                for value, label in ((left, "Left"), (right, "Right"))
            ]
        with gr.Row(elem_id="wipe"):
            # gr.ImageSlider has no keyboard and no alt text, and zooms where the page should scroll.
            pictures = [
                gr.Image(**shown.picture(method), **PICTURE, buttons=[], elem_classes=side)
                for method, side in ((left, "left-side"), (right, "right-side"))
            ]
            gr.HTML(render("wipe"))
    return Wipe(column, *choices, *pictures)


def _script(shown: Shown) -> Script:
    _, method = shown.pair
    with gr.Column(visible=bool(shown.results), min_width=320, elem_id="script-column") as column:
        gr.HTML("<h2>The same from your own script</h2>")
        choice = gr.Dropdown(
            shown.choices, value=method, label="Method", elem_id="script-method", min_width=120
        )
        code = gr.Code(
            shown.script(method),
            language="python",
            interactive=False,
            show_label=False,
            show_line_numbers=False,
            elem_id="script",
        )
        report = gr.HTML(shown.report, elem_id="report")
    return Script(column, choice, code, report)


def example_comparison() -> Comparison | None:
    """The comparison of the first view, or None if it is missing or cannot be read."""
    try:
        return load_comparison(EXAMPLE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        LOG.warning("The example in %s is not shown: %s", EXAMPLE, error)
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model and serve the page until Ctrl-C or SIGTERM. Returns the exit code."""
    options = parse_options(arguments)
    log_as_json()
    raise_open_files_limit()
    try:
        loaded = load_pipeline(options.model, options.device)
    except ModelNotLoaded as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if loaded.fallback:
        print(f"note: {loaded.fallback}", file=sys.stderr)
    for missing in missing_methods():
        print(f"note: {missing}", file=sys.stderr)
    with temporary_folder(os.environ.get("GRADIO_TEMP_DIR")) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        return _serve(loaded, options, folder)


def _serve(loaded: LoadedPipeline, options: ServerOptions, folder: Path) -> int:
    os.environ |= OF_GRADIO
    page = Page(loaded, example_comparison(), options.limits, options.log_prompts)
    blocks = page.blocks
    door = FrontDoor(
        files=folder,
        names=[ENDPOINT],
        functions=blocks.fns,
        hosts=options.hosts,
        origins=options.origins,
        frames=options.frames,
        proxies=options.proxies,
        per_second=options.limits.per_second,
    )
    try:
        with redirect_stdout(io.StringIO()):  # `quiet` does not reach what it says of MCP
            _, local, public = blocks.launch(
                server_name=options.host,
                server_port=options.port,
                share=options.share,
                mcp_server=True,
                theme=THEME,
                css_paths=STYLE_SHEET,
                footer_links=["api"],
                run_history=False,
                ssr_mode=False,
                quiet=True,
                state_session_capacity=SESSIONS,
                prevent_thread_lock=True,
                max_threads=page.threads,
                app_kwargs={"routes": Health(page.runs).routes, "lifespan": door.lifespan},
            )
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    info = loaded.info
    print(f"{info.name} on {info.device_name}, {info.dtype}, attention by {info.attention}")
    print(f"Running on {local}" + (f" and {public}" if public else ""), flush=True)
    if options.share and not public:
        print("error: there is no public link, Gradio's servers gave none", file=sys.stderr)
    log_what_is_printed()
    wait_for_shutdown_signal(options.grace + TO_END)
    page.runs.close(options.grace)
    time.sleep(LAST_WORDS)
    blocks.close(verbose=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
