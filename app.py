"""The page: `python app.py`. ToDo, ToMe and the unchanged model side by side, in a browser and as an API."""

from __future__ import annotations

import io
import logging
import os
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image
from starlette.middleware import Middleware

from compare import (
    METHODS,
    Comparison,
    Event,
    Finished,
    InvalidRequest,
    LoadedPipeline,
    MethodDone,
    MethodStarted,
    ModelNotLoaded,
    Request,
    Result,
    RunFailed,
    Started,
    StepDone,
    Stopped,
    Waiting,
    load_comparison,
    load_pipeline,
    method_of,
    script_for,
)
from compare.experiment.device import environment
from compare.request import SEEDS, SIZE_MULTIPLE
from page import api as answer
from page import html as cards
from page.pictures import Pictures
from server.health import Health
from server.limits import Limits
from server.log import log_as_json
from server.options import ServerOptions, parse_options
from server.process import raise_open_files_limit, temporary_folder, wait_for_shutdown_signal
from server.request_filter import RequestFilter
from server.runs import Job, Runs, Stop
from server.visitors import visitor_of
from server.zero_gpu import runner

ASSETS = Path(__file__).resolve().parent / "assets"
LAST_WORDS = 2.0  # seconds in which gradio passes on what the last runs said
KEPT = (600, 3600)  # seconds between two looks for old pictures, and how old they are then
LOG = logging.getLogger("app")

SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
SYSTEM_FONTS_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
ANNOUNCE = "element.setAttribute('aria-live', 'polite')"  # to those who listen to the page

# As PNG, for webp, the default, loses pixels and the settings that are written into the file.
PICTURE = {"format": "png", "interactive": False, "show_label": False, "container": False}

Updates = dict[gr.blocks.Block, Any]


@dataclass(eq=False)
class Session:
    """What belongs to one browser window."""

    stop: Stop | None = None
    """Ends its run; None while it has none."""
    comparison: Comparison | None = None
    """Its last result; None while it shows the example."""


class Page:
    """The components, and the handlers that change them. `blocks` is the app."""

    def __init__(
        self,
        loaded: LoadedPipeline,
        example: Comparison | None,
        limits: Limits | None = None,
        proxies: int = 0,
        log_prompts: bool = False,
    ) -> None:
        self.loaded, self.example, self.proxies = loaded, example, proxies
        self.runs = Runs(runner(loaded), limits or Limits(), log_prompts)
        self.files = Pictures(get_upload_folder())
        with gr.Blocks(
            title="ToDo vs ToMe", analytics_enabled=False, fill_width=True, delete_cache=KEPT
        ) as self.blocks:
            self.session = gr.State(Session())
            gr.HTML(cards.heading(loaded, environment(loaded.device)))
            self._add_controls()
            self._add_results()
            self._add_wipe_and_script()
            self._connect()
            self._add_api()
        # Only to keep a crowd out: runs wait for their turn in `run`, which says so while they do.
        self.blocks.queue(max_size=self.threads, default_concurrency_limit=16)

    @property
    def threads(self) -> int:
        """How many handlers may run at once: each run in line holds one, and there are others beside them."""
        return self.runs.limits.in_line + 40

    # What there is

    def _add_controls(self) -> None:
        defaults, examples = self.loaded.defaults, self.loaded.examples
        with gr.Column(elem_classes="controls"):
            with gr.Row():
                self.prompt = gr.Textbox(
                    examples[0], label="Prompt", max_lines=4, scale=3, elem_id="prompt", min_width=280
                )
                self.negative_prompt = gr.Textbox(
                    "",
                    label="Negative prompt",
                    max_lines=4,
                    scale=2,
                    elem_id="negative-prompt",
                    min_width=200,
                )
            with gr.Row(elem_classes="examples"):
                self.examples = [
                    gr.Button(prompt, size="sm", min_width=0, elem_classes="example") for prompt in examples
                ]
            if self.loaded.vocabulary:
                gr.HTML(cards.vocabulary(self.loaded.vocabulary))
            # No minimum, maximum or precision: they clamp and round what was typed before it is checked.
            with gr.Row(elem_classes="numbers"):
                self.width = gr.Number(defaults.width, label="Width", step=64, elem_id="width", min_width=80)
                self.height = gr.Number(
                    defaults.height, label="Height", step=64, elem_id="height", min_width=80
                )
                self.factor = gr.Number(2, label="Factor", elem_id="factor", min_width=80)
                self.steps = gr.Number(defaults.steps, label="Steps", elem_id="steps", min_width=80)
                self.guidance_scale = gr.Number(
                    defaults.guidance_scale, label="Guidance", step=0.5, elem_id="guidance", min_width=80
                )
                self.repeats = gr.Number(1, label="Repeats", elem_id="repeats", min_width=80)
                self.seed = gr.Number(0, label="Seed", elem_id="seed", min_width=120)
                self.new_seed = gr.Button("New seed", elem_id="new-seed", min_width=100)
            gr.HTML(cards.settings_help(self.runs.limits))
            with gr.Row(elem_classes="go"):
                self.methods = gr.CheckboxGroup(
                    [(method.label, method.id) for method in METHODS],
                    value=[method.id for method in METHODS if method.preselected],
                    label="Methods",
                    elem_id="methods",
                    scale=4,
                    min_width=280,
                )
                self.compare_button = gr.Button(
                    "Compare", variant="primary", elem_id="compare", min_width=120
                )
                self.stop_button = gr.Button("Stop", interactive=False, elem_id="stop", min_width=120)
            self.message = gr.HTML(elem_id="message", js_on_load=ANNOUNCE)

    def _add_results(self) -> None:
        shown = self.example
        self.about = gr.HTML(cards.about_example(shown) if shown else cards.about_nothing(), elem_id="about")
        self.panes: dict[str, gr.Column] = {}
        self.pictures: dict[str, gr.Image] = {}
        self.cards: dict[str, gr.HTML] = {}
        with gr.Row(elem_classes="panes"):
            for method in METHODS:
                result = shown.result(method.id) if shown else None
                self.panes[method.id] = gr.Column(
                    visible=bool(result) if shown else method.preselected,
                    elem_classes="pane",
                    elem_id=f"pane-{method.id}",
                    min_width=0,
                )
                with self.panes[method.id]:
                    gr.HTML(cards.pane_heading(method))
                    self.pictures[method.id] = gr.Image(
                        **self._picture_of(shown, method.id),
                        **PICTURE,
                        buttons=["download", "fullscreen"],
                        elem_classes="picture",
                    )
                    self.cards[method.id] = gr.HTML(
                        cards.result_card(result) if result else cards.quiet_card("Nothing here yet.")
                    )
        gr.HTML(cards.reading_help())

    def _add_wipe_and_script(self) -> None:
        shown = _Shown.of(self.example)
        wipe = [self._picture_of(self.example, method) for method in shown.pair]
        with gr.Row(elem_classes="more"):
            self.wipe_column = gr.Column(visible=len(shown.choices) > 1, min_width=320, elem_id="wipe-column")
            with self.wipe_column:
                gr.HTML("<h2>Wipe between two</h2>")
                with gr.Row():
                    self.left, self.right = (
                        gr.Dropdown(
                            shown.choices, value=value, label=label, elem_id=label.lower(), min_width=120
                        )
                        for label, value in zip(("Left", "Right"), shown.pair, strict=True)
                    )
                with gr.Row(elem_id="wipe"):
                    # gr.ImageSlider has no keyboard and no alt text, and zooms where the page should scroll.
                    self.left_picture, self.right_picture = (
                        gr.Image(**picture, **PICTURE, buttons=[], elem_classes=side)
                        for picture, side in zip(wipe, ("left-side", "right-side"), strict=True)
                    )
                    gr.HTML(cards.wipe_slider())
            self.script_column = gr.Column(
                visible=bool(shown.choices), min_width=320, elem_id="script-column"
            )
            with self.script_column:
                gr.HTML("<h2>The same from your own script</h2>")
                self.script_method = gr.Dropdown(
                    shown.choices, value=shown.pair[1], label="Method", elem_id="script-method", min_width=120
                )
                self.script = gr.Code(
                    _script(self.example, shown.pair[1]),
                    language="python",
                    interactive=False,
                    show_label=False,
                    show_line_numbers=False,
                    elem_id="script",
                )
                self.report = gr.HTML(
                    cards.report_link(self.example) if self.example else "", elem_id="report"
                )

    # What happens

    def _connect(self) -> None:
        own = {"api_visibility": "private", "show_progress": "hidden"}
        for button, prompt in zip(self.examples, self.loaded.examples, strict=True):
            button.click(lambda prompt=prompt: prompt, outputs=self.prompt, queue=False, **own)
        self.new_seed.click(lambda: random.randint(*SEEDS), outputs=self.seed, queue=False, **own)
        gr.on(
            [self.compare_button.click, self.prompt.submit, self.negative_prompt.submit],
            self.compare_on_page,
            inputs=[self.session, self.prompt, *self._settings],
            outputs=self._changing,
            concurrency_limit=None,  # those who are too many are told so, and at once
            **own,
        )
        # A plain handler beside the queue: what `cancels=` leaves behind keeps computing.
        self.stop_button.click(self.stop, self.session, self.stop_button, queue=False, **own)
        gr.on(
            [self.left.input, self.right.input],
            self.show_wipe,
            inputs=[self.session, self.left, self.right],
            outputs=[self.left_picture, self.right_picture],
            trigger_mode="always_last",
            **own,
        )
        self.script_method.input(
            self.show_script,
            [self.session, self.script_method],
            self.script,
            trigger_mode="always_last",
            **own,
        )

    @property
    def _settings(self) -> list[gr.components.Component]:
        """What can be set beside the prompt, in the order of the API."""
        return [
            self.negative_prompt, self.width, self.height, self.steps, self.guidance_scale, self.seed,
            self.factor, self.methods, self.repeats,
        ]  # fmt: skip

    @property
    def _changing(self) -> list[gr.blocks.Block]:
        """What a run changes: not one of the settings, so that the page keeps what was typed."""
        return [
            self.session, self.compare_button, self.stop_button, self.message, self.about, self.report,
            *self.panes.values(), *self.pictures.values(), *self.cards.values(),
            self.wipe_column, self.left, self.right, self.left_picture, self.right_picture,
            self.script_column, self.script_method, self.script,
        ]  # fmt: skip

    def compare_on_page(
        self, session: Session, http: gr.Request, prompt: str, *settings: object
    ) -> Iterator[Updates]:
        """Compare. Gradio may leave a generator hanging at any `yield`: this holds nothing others need."""
        try:
            job = self.runs.accept(_named(prompt, *settings), self._visitor(http), "page")
        except InvalidRequest as error:
            yield {self.message: cards.error(str(error))}
            return
        session.stop = job.stop
        yield self._begin(job.request)
        try:
            with self.runs.events(job) as events:
                for event in events:
                    yield self._on_event(session, job, event)
        except (InvalidRequest, RunFailed) as error:
            yield self._give_up(session, str(error))

    def _visitor(self, http: gr.Request) -> str:
        return visitor_of(http.client.host if http.client else None, http.headers, self.proxies)

    def stop(self, session: Session) -> Updates:
        """End the run of this window at its next step. That it ended is for the run itself to say."""
        if (stop := session.stop) is not None:
            stop.ask()
        return gr.update(interactive=False)

    def _begin(self, request: Request) -> Updates:
        updates: Updates = {
            self.compare_button: gr.update(interactive=False),
            self.stop_button: gr.update(interactive=True),
            self.message: cards.progress("Starting."),
            self.about: cards.about_run(request),
            self.wipe_column: gr.update(visible=False),
            self.script_column: gr.update(visible=False),
        }
        for method in self.panes:
            updates[self.panes[method]] = gr.update(visible=method in request.methods)
            updates[self.pictures[method]] = self._nothing_yet(request)
            updates[self.cards[method]] = cards.quiet_card("Waiting for its turn.")
        return updates

    def _on_event(self, session: Session, job: Job, event: Event) -> Updates:
        """What an event of a run changes, in the session and on the page."""
        updates = self._on(event, job.request, job.stop.because or "Stopped.")
        if isinstance(event, (Finished, Stopped)):
            session.stop = None
            session.comparison = event.comparison or session.comparison
        return {self.session: session, **updates}

    def _on(self, event: Event, request: Request, why_stopped: str) -> Updates:
        match event:
            case Waiting(seconds=seconds):
                return {
                    self.message: cards.progress(
                        f"Another comparison is running; this one is in line ({seconds:.0f} s)."
                    )
                }
            case Started(notes=notes):
                return {
                    self.message: cards.progress("Warming up: a step and a decoding that are not timed."),
                    self.about: cards.about_run(request, notes),
                }
            case MethodStarted(method=method, steps=steps):
                return {
                    self.message: cards.progress(f"{method_of(method).label} is running."),
                    self.cards[method]: cards.progress_card(method_of(method), 0, steps, 0),
                }
            case StepDone(method=method, step=step, steps=steps, seconds=seconds, preview=preview):
                updates = {self.cards[method]: cards.progress_card(method_of(method), step, steps, seconds)}
                if preview is not None:
                    updates[self.pictures[method]] = gr.update(
                        value=self.files.save(preview, method),
                        alt_text=f"Preview of {method_of(method).label} after step {step}",
                    )
                return updates
            case MethodDone(result=result):
                return self._result(result, request)
            case Finished(comparison=comparison):
                return {**self._free("Done."), **self._show(comparison, cards.about_own(comparison))}
            case Stopped(comparison=None):
                return {
                    **self._free(why_stopped),
                    self.about: cards.about_stopped(request),
                    **self._unfinished(request, done=()),
                }
            case Stopped(comparison=comparison):
                return {**self._free(why_stopped), **self._show(comparison, cards.about_own(comparison))}
        return {}

    def _result(self, result: Result, request: Request) -> Updates:
        return {
            self.pictures[result.method]: gr.update(**self._picture(result, request)),
            self.cards[result.method]: cards.result_card(result),
        }

    def _unfinished(self, request: Request, done: Iterable[str]) -> Updates:
        """The panes of the methods that a run was stopped before."""
        updates: Updates = {}
        for method in set(request.methods).difference(done):
            updates[self.cards[method]] = cards.quiet_card("Stopped before it was done.")
            updates[self.pictures[method]] = self._nothing_yet(request)
        return updates

    def _picture(self, result: Result, request: Request) -> dict[str, Any]:
        return {
            "value": self.files.save(result.image, result.method),
            "alt_text": f"{result.label}: {request.prompt}",
        }

    def _picture_of(self, comparison: Comparison | None, method: str | None) -> dict[str, Any]:
        result = comparison.result(method) if comparison and method else None
        return self._picture(result, comparison.request) if result else {"value": None, "alt_text": None}

    def _nothing_yet(self, request: Request) -> dict[str, Any]:
        """Holds the place of a picture, of the same shape, so that the page does not jump."""
        shape = Image.new("RGBA", (request.width // SIZE_MULTIPLE, request.height // SIZE_MULTIPLE))
        return gr.update(value=self.files.save(shape, "nothing"), alt_text="")

    def _free(self, sentence: str) -> Updates:
        return {
            self.compare_button: gr.update(interactive=True),
            self.stop_button: gr.update(interactive=False),
            self.message: cards.progress(sentence),
        }

    def _show(self, comparison: Comparison, about: str) -> Updates:
        """The end of a run: its numbers, and all that can be done with it. Its pictures are there already."""
        shown = _Shown.of(comparison)
        updates: Updates = {
            self.about: about,
            self.report: cards.report_link(comparison),
            self.wipe_column: gr.update(visible=len(shown.choices) > 1),
            self.left: gr.update(choices=shown.choices, value=shown.pair[0]),
            self.right: gr.update(choices=shown.choices, value=shown.pair[1]),
            self.left_picture: gr.update(**self._picture_of(comparison, shown.pair[0])),
            self.right_picture: gr.update(**self._picture_of(comparison, shown.pair[1])),
            self.script_column: gr.update(visible=True),
            self.script_method: gr.update(choices=shown.choices, value=shown.pair[1]),
            self.script: _script(comparison, shown.pair[1]),
        }
        for result in comparison.results:
            updates[self.cards[result.method]] = cards.result_card(result)
        done = [result.method for result in comparison.results]
        return updates | self._unfinished(comparison.request, done)

    def _show_again(self, comparison: Comparison, about: str) -> Updates:
        """A comparison whose panes something else has taken since."""
        updates = self._show(comparison, about)
        for method, pane in self.panes.items():
            updates[pane] = gr.update(visible=method in comparison.request.methods)
        for result in comparison.results:
            updates |= self._result(result, comparison.request)
        return updates

    def _give_up(self, session: Session, sentence: str) -> Updates:
        """After an error: the last comparison again, and the sentence."""
        session.stop = None
        updates = {self.session: session, **self._free(""), self.message: cards.error(sentence)}
        if session.comparison:
            return updates | self._show_again(session.comparison, cards.about_own(session.comparison))
        if self.example:
            return updates | self._show_again(self.example, cards.about_example(self.example))
        updates[self.about] = cards.about_nothing()
        for card in self.cards.values():
            updates[card] = cards.quiet_card("Nothing here yet.")
        return updates

    def show_wipe(self, session: Session, left: str, right: str) -> list[dict[str, Any]]:
        shown = session.comparison or self.example
        return [gr.update(**self._picture_of(shown, method)) for method in (left, right)]

    def show_script(self, session: Session, method: str) -> str:
        return _script(session.comparison or self.example, method)

    # The API

    def _add_api(self) -> None:
        with gr.Row(visible=False):
            prompt = gr.Textbox(label="Prompt")  # the page's own has a default, and here it is required
            gallery = gr.Gallery(label="Pictures", format="png")
            report = gr.JSON(label="Report")
            gr.Button().click(
                self.compare,  # the name of the MCP tool
                inputs=[prompt, *self._settings],
                outputs=[gallery, report],
                api_name="compare",
                preprocess=False,  # it would answer nonsense with its own exceptions; `Request` checks all
                concurrency_limit=None,
            )

    def compare(
        self,
        prompt: str,
        negative_prompt: str,
        width: int,
        height: int,
        steps: int,
        guidance_scale: float,
        seed: int,
        factor: int,
        methods: list[str],
        repeats: int,
        http: gr.Request,
    ) -> Iterator[tuple[Any, Any]]:
        """Make the same picture with the unchanged model, ToMe and ToDo, and compare time and fidelity.

        Args:
            prompt: What to draw.
            negative_prompt: What to keep away from; empty for none.
            width: Pixels, a multiple of 8.
            height: Pixels, a multiple of 8.
            steps: Denoising steps.
            guidance_scale: Classifier-free guidance; 1 and below switch it off.
            seed: Of the starting noise, which is the same for every method.
            factor: Of downsampling: 2 keeps a quarter of the keys and values. ToMe gets the equal reduction.
            methods: Some of baseline, tome, todo, todo-rotating and fewer-steps.
            repeats: How often each method is timed; above 1 they take turns, and the median counts.

        Returns:
            The pictures.
            The report, with a list "results": method, seconds, speedup, psnr, ssim, and more.
        """
        try:
            settings = (
                prompt, negative_prompt, width, height, steps, guidance_scale, seed, factor, methods, repeats,
            )  # fmt: skip
            job = self.runs.accept(_named(*settings), self._visitor(http), "api")
            with self.runs.events(job) as events:
                for event in events:
                    yield self._api_answer(event)
        except (InvalidRequest, RunFailed) as error:
            raise gr.Error(str(error), print_exception=False) from error
        if job.stop.because:  # nobody but the server stops these
            raise gr.Error(job.stop.because, print_exception=False)

    def _api_answer(self, event: Event) -> tuple[Any, Any]:
        if isinstance(event, Finished):
            return answer.gallery(event.comparison, self.files), answer.report(event.comparison)
        return gr.skip(), gr.skip()  # where a client that has gone away is noticed


@dataclass(frozen=True)
class _Shown:
    """What can be chosen of a comparison."""

    choices: list[tuple[str, str]]
    """Label and id of the methods that have a result."""
    pair: tuple[str | None, str | None]
    """Two of them, to begin with."""

    @classmethod
    def of(cls, comparison: Comparison | None) -> _Shown:
        done = [result.method for result in comparison.results] if comparison else []
        first = done[0] if done else None
        other = "todo" if "todo" in done else done[-1] if done else None
        return cls(
            choices=[(result.label, result.method) for result in comparison.results] if comparison else [],
            pair=(first, other),
        )


def _named(*values: object) -> dict[str, object]:
    """Settings by the name of their field."""
    names = (
        "prompt", "negative_prompt", "width", "height", "steps", "guidance_scale", "seed", "factor",
        "methods", "repeats",
    )  # fmt: skip
    return dict(zip(names, values, strict=True))


def _script(comparison: Comparison | None, method: str | None) -> str:
    result = comparison.result(method) if comparison and method else None
    if result is None:
        return ""
    return script_for(comparison.request, method, comparison.model, steps=result.steps)


def _example() -> Comparison | None:
    """The comparison of the first view, or None where it is missing or cannot be read."""
    try:
        return load_comparison(ASSETS / "example")
    except (OSError, ValueError, KeyError, TypeError) as error:
        LOG.warning("The example in %s is not shown: %s", ASSETS / "example", error)
        return None


def _theme() -> gr.Theme:
    """Calm, and with fonts that the visitor's own system has: none is fetched."""
    return gr.themes.Base(
        primary_hue="teal", neutral_hue="zinc", font=SYSTEM_FONTS, font_mono=SYSTEM_FONTS_MONO
    ).set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_border_width="0px",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_300",
        input_border_width="1px",
        input_background_fill="white",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
    )


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
    with temporary_folder(os.environ.get("GRADIO_TEMP_DIR")) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        return _serve(loaded, options, folder)


def _serve(loaded: LoadedPipeline, options: ServerOptions, folder: Path) -> int:
    page = Page(loaded, _example(), options.limits, options.proxies, options.log_prompts)
    blocks = page.blocks
    request_filter = Middleware(RequestFilter, files=folder, hosts=options.hosts, origins=options.origins)
    try:
        with redirect_stdout(io.StringIO()):  # `quiet` does not reach what it says of MCP
            _, local, public = blocks.launch(
                server_name=options.host,
                server_port=options.port,
                share=options.share,
                mcp_server=True,
                theme=_theme(),
                css_paths=ASSETS / "page.css",
                footer_links=["api"],
                run_history=False,
                ssr_mode=False,
                quiet=True,
                state_session_capacity=200,
                prevent_thread_lock=True,
                max_threads=page.threads,
                app_kwargs={"routes": Health(page.runs).routes, "middleware": [request_filter]},
            )
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    info = loaded.info
    print(f"{info.name} on {info.device_name}, {info.dtype}, attention by {info.attention}")
    print(f"Running on {local}" + (f" and {public}" if public else ""), flush=True)
    if options.share and not public:
        print("error: there is no public link, Gradio's servers gave none", file=sys.stderr)
    wait_for_shutdown_signal()
    page.runs.close(options.grace)
    time.sleep(LAST_WORDS)
    blocks.close(verbose=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
