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
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from compare import (
    Comparison,
    InvalidRequest,
    LoadedPipeline,
    ModelNotLoaded,
    Request,
    RunFailed,
    load_comparison,
    load_pipeline,
)
from compare.experiment.device import environment
from compare.experiment.flops import plans_of
from compare.methods import known_methods, missing_methods
from compare.request import SEEDS, SIZE_MULTIPLE, SIZES
from page.api import SETTINGS, endpoint, named
from page.expectation import expect, sentence
from page.html import message, render
from page.pictures import Album, Pictures
from page.presets import FACTOR_OF, FACTORS, SAME, presets_of, set_size, size_of
from page.shown import Shown
from page.stage import stage
from page.theme import STYLE_SHEET, THEME
from page.updates import Details, RunUpdates, Session, Updates, View
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

OF_THE_PAGE = {"api_visibility": "private", "show_progress": "hidden"}
EXAMPLES = 6  # prompts that are a click away
CHIPS = 5  # methods that are shown at once
REPEATS = 3  # of times that could not be trusted
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
        self.runs = Runs(runner(loaded), limits or Limits(), log_prompts, plan=partial(plans_of, loaded.pipe))
        self.files = Pictures(get_upload_folder())
        self.compare = endpoint(self.runs, self.files, _visit)
        self.first_view = Shown(
            album=Album(self.files),
            request=example.request if example else None,
            comparison=example,
            whose="An example, made earlier by this code",
        )
        self.first_settings = first_settings(loaded, example)
        with gr.Blocks(title="ToDo vs ToMe", analytics_enabled=False, fill_width=True) as self.blocks:
            gr.HTML(render("heading", loaded=loaded, environment=environment(loaded.device)))
            with gr.Tabs(elem_id="tabs"), gr.Tab("Compare"), gr.Column(elem_classes="comparison"):
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
        first, session = self.first_settings, gr.State(Session())
        with gr.Column(elem_classes="controls"):
            with gr.Row(elem_classes="go"):
                prompt = gr.Textbox(
                    first["prompt"], label="Prompt", placeholder="What to draw", max_lines=4, scale=6,
                    show_label=False, container=False, elem_id="prompt", min_width=280,
                )  # fmt: skip
                compare = gr.Button("Compare", variant="primary", elem_id="compare", min_width=120)
                stop = gr.Button("Stop", interactive=False, elem_id="stop", min_width=90)
            self._add_examples()
            self._add_choices()
            with gr.Accordion("More settings", open=False, elem_id="more-settings"):
                more = self._add_more_settings()
        self.settings: dict[str, gr.components.Component] = {
            "prompt": prompt,
            "methods": self.methods,
            **more,
        }
        """By the field of a `Request`."""
        self.expectation = gr.HTML(self.expect(*first.values()), elem_id="expectation")
        said = gr.HTML(elem_id="message", js_on_load=ANNOUNCE)
        about = gr.HTML(self.first_view.about, elem_id="about")
        bars = gr.HTML(self.first_view.bars.html(), elem_id="bars")
        pictures = stage(self.first_view.pictures, introduce=True)
        self.view = View(session, compare, stop, said, about, bars, pictures, _details(self.first_view))
        gr.HTML(render("reading_help"), elem_classes="foot")

    def _add_examples(self) -> None:
        with gr.Row(elem_classes="examples"):
            self.examples = [
                gr.Button(example, size="sm", min_width=0, elem_classes="example")
                for example in self.loaded.examples[:EXAMPLES]
            ]

    def _add_choices(self) -> None:
        """What most visitors change."""
        first, self.presets = self.first_settings, presets_of(self.loaded.defaults)
        sides = [preset.side for preset in self.presets]
        is_preset = first["width"] == first["height"] and first["width"] in sides
        with gr.Row(elem_classes="choices"):
            self.size = gr.Radio(
                sides, value=first["width"] if is_preset else None, label="Size", elem_id="size", min_width=0
            )
            self.factor = gr.Radio(
                FACTORS, value=first["factor"] if first["factor"] in FACTORS else None, label="Factor",
                elem_id="factors", min_width=0,
            )  # fmt: skip
            self.methods = _methods(first["methods"])
            if (others := len(known_methods()) - CHIPS) > 0:
                gr.HTML(render("more_methods", count=others), elem_classes="others")

    def _add_more_settings(self) -> dict[str, gr.components.Component]:
        first = self.first_settings
        negative_prompt = gr.Textbox(
            first["negative_prompt"], label="Negative prompt", max_lines=4, elem_id="negative-prompt"
        )
        # No minimum, maximum or precision: they clamp and round what was typed before it is checked.
        with gr.Row(elem_classes="numbers"):
            numbers = {
                name: gr.Number(first[name], label=label, step=step, elem_id=id, min_width=80)
                for name, label, id, step in (
                    ("width", "Width", "width", 64),
                    ("height", "Height", "height", 64),
                    ("factor", "Factor", "factor", 1),
                    ("steps", "Steps", "steps", 1),
                    ("guidance_scale", "Guidance", "guidance", 0.5),
                    ("repeats", "Repeats", "repeats", 1),
                    ("seed", "Seed", "seed", 1),
                )
            }
            self.new_seed = gr.Button("New seed", elem_id="new-seed", min_width=100)
        if self.loaded.vocabulary:
            gr.HTML(render("vocabulary", seen=self.loaded.vocabulary))
        gr.HTML(render("settings_help", sizes=SIZES, multiple=SIZE_MULTIPLE, limits=self.runs.limits))
        return {"negative_prompt": negative_prompt, **numbers}

    # Events

    def _connect(self) -> None:
        settings, view = self.settings, self.view
        of_all = [settings[name] for name in SETTINGS]
        in_browser = {"queue": False, **OF_THE_PAGE}
        for button in self.examples:
            button.click(lambda prompt=button.value: prompt, None, settings["prompt"], **in_browser)
        self.new_seed.click(lambda: random.randint(*SEEDS), None, settings["seed"], **in_browser)
        side, factor = (settings["width"], settings["height"]), settings["factor"]
        chosen = (
            self.size.input(
                None,
                [self.size, factor],
                [*side, factor, self.factor],
                js=set_size(self.presets),
                **in_browser,
            ),
            self.factor.input(None, self.factor, factor, js=SAME, **in_browser),
        )
        gr.on([each.change for each in side], None, side, self.size, js=size_of(self.presets), **in_browser)
        factor.change(None, factor, self.factor, js=FACTOR_OF, **in_browser)
        typed = [each.blur for name, each in settings.items() if isinstance(each, gr.Number)]
        gr.on(
            [self.blocks.load, settings["methods"].input, *typed, *(each.then for each in chosen)],
            self.expect, of_all, self.expectation, trigger_mode="always_last", **in_browser,
        )  # fmt: skip
        started = [view.compare_button.click, settings["prompt"].submit, settings["negative_prompt"].submit]
        of_a_run = {"outputs": view.components, "concurrency_limit": None, **OF_THE_PAGE}  # refused at once
        gr.on(started, self.compare_on_page, [view.session, *of_all], **of_a_run)
        view.details.repeat.click(self.repeat_on_page, view.session, **of_a_run)
        # A plain handler outside of gradio's queue: after `cancels=` the run would keep computing.
        view.stop_button.click(self.stop, view.session, view.stop_button, **in_browser)
        view.details.method.input(
            self.show_script,
            inputs=[view.session, view.details.method, view.about],
            outputs=[view.details.code, view.message],
            trigger_mode="always_last",
            **OF_THE_PAGE,
        )

    def expect(self, *settings: object) -> str:
        """What to expect of a comparison with these settings, or why there can be none, as HTML."""
        try:
            request = Request(**named(settings))
            plans = self.runs.plan(request)
        except InvalidRequest as error:
            return message("expectation", str(error))
        estimate = self.runs.pace.estimate(request, plans)
        return sentence(expect(request, plans, estimate, self.runs.limits.seconds))

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
        run = RunUpdates(view, session, job, Album(self.files), lambda: self.runs.estimate(job.request))
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

    def repeat_on_page(self, session: Session, http: gr.Request) -> Iterator[Updates]:
        """Compare again what is shown, more often."""
        if (request := (session.shown or self.first_view).request) is None:
            yield {self.view.message: message("error", GONE)}
            return
        again = replace(request, repeats=min(REPEATS, self.runs.limits.repeats))
        settings = (getattr(again, name) for name in SETTINGS)
        yield from self.compare_on_page(session, http, *settings)

    def stop(self, session: Session) -> Updates:
        """End the run of this window. The run itself says when it has ended."""
        if session.stop is None:
            return gr.update(interactive=False)
        session.stop.ask()
        return gr.update(interactive=False, value="Stopping")

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
            # The page's own have the example's values. The prompt is required here, so it has none.
            own = {
                "prompt": gr.Textbox(label="Prompt"),
                "seed": gr.Number(0, label="Seed"),
                "methods": _methods([method.id for method in known_methods() if method.preselected]),
            }
            gallery = gr.Gallery(label="Pictures", format="png")
            report = gr.JSON(label="Report")
            inputs = {**self.settings, **own}
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


def _methods(chosen: Sequence[str]) -> gr.CheckboxGroup:
    choices = [(method.label, method.id) for method in known_methods()]
    return gr.CheckboxGroup(
        choices, value=list(chosen), label="Methods", elem_id="methods", scale=4, min_width=280
    )


def _details(shown: Shown) -> Details:
    method = shown.first_choice
    with gr.Column(visible=bool(shown.results), elem_classes="details") as column:
        numbers = gr.HTML(shown.numbers, elem_id="numbers")
        repeat = gr.Button(
            f"Repeat {REPEATS} times", visible=shown.is_in_doubt, size="sm", elem_id="repeat", min_width=0
        )
        with gr.Accordion("The same from your own script", open=False, elem_id="script-column"):
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
    return Details(column, numbers, repeat, choice, code, report)


def first_settings(loaded: LoadedPipeline, example: Comparison | None) -> dict[str, object]:
    """What the form says at first, in the order of `SETTINGS`: the example's settings if this model made it,
    or else those that suit the model."""
    first = loaded.request(loaded.examples[0])
    if example is not None:
        first = replace(first, methods=example.request.methods)
        if example.model.source == loaded.info.source:
            first = example.request
    settings = {name: getattr(first, name) for name in SETTINGS}
    known = [method.id for method in known_methods()]
    return {**settings, "methods": [id for id in first.methods if id in known]}


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
