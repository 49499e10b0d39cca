"""The page: `python app.py`. ToDo, ToMe and the unchanged model side by side, in a browser and as an API."""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take seconds
    from server.process import end_on_signal

    end_on_signal()

    from page.lobby import open_lobby
    from server.options import parse_options

    LOBBY = open_lobby(parse_options())

import io
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency
from gradio.utils import get_upload_folder

from compare import (
    Comparison,
    InvalidRequest,
    LoadedPipeline,
    ModelNotLoaded,
    Request,
    RunFailed,
    load_pipeline,
)
from compare.experiment.device import environment
from compare.experiment.flops import plans_of
from compare.methods import BASELINE, known_methods, missing_methods
from page.api import SETTINGS, UNLISTED, PageBlocks, endpoint, method_inputs, named
from page.details import REPEATS, add_details
from page.downloads import add_downloads, packed
from page.example import example_comparison
from page.expectation import expectation_of, sentence
from page.explore import add_explore
from page.exploring import COMPARE, TO_STAGE, Exploring, add_explore_form
from page.form import add_form, first_settings, methods_group
from page.how_it_works import add_how_it_works
from page.html import message, render
from page.memory import add_memory
from page.pictures import Album, Pictures
from page.returning import Returning, said, wait_until_left
from page.sharing import ROUTE, describe_page
from page.shown import Shown
from page.stage import stage
from page.strip import add_strip
from page.theme import STYLE_SHEET, THEME
from page.updates import RunUpdates, Updates, View
from page.visit import Session, Visits
from server.followed import Followed
from server.front_door.door import FrontDoor
from server.front_door.visits import Visit, visit_of
from server.health import Health
from server.limits import Limits
from server.lobby import Lobby
from server.log import log_as_json, log_what_is_printed
from server.options import ServerOptions, parse_options
from server.process import raise_open_files_limit, temporary_folder, wait_for_shutdown_signal
from server.runs import DISK_FULL, TO_STOP, Job, Runs
from server.zero_gpu import LENDS_GPUS, runner

LOOK_AGAIN = 1.0  # seconds between two looks at whether the pace of this machine is known
LAST_WORDS = 1.0  # seconds in which visitors get the last events, and the pictures that these name
TO_END = TO_STOP + LAST_WORDS + 0.5  # seconds that the process has for its end, after the grace
ENDPOINT = "compare"
OF_GRADIO = {
    "FORWARDED_ALLOW_IPS": "",  # uvicorn lets nobody choose who they are: the front door knows
    # Statistics on the last 10,000 calls, made anew after each, which nobody sees.
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**12),
}
SESSIONS = 200  # windows that gradio knows
GONE = "This result is gone: the server was restarted, or needed the room. Press Compare again."
ANOTHER = "Stopped: this window asked for another comparison."
LOG = logging.getLogger("app")
TEMPLATES = Path(__file__).resolve().parent / "page" / "templates"
# In the browser, so that it is said at once; the run itself may be in the middle of a step.
STOPPING = """() => ({ __type__: "update", value: "Stopping", interactive: false })"""


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
        self.files, self.visits = Pictures(get_upload_folder()), Visits()
        self.compare = endpoint(self.runs, self.files, _visit)
        self.first_view = Shown(
            album=Album(self.files),
            request=example.request if example else None,
            comparison=example,
            whose="An example, made earlier",
        )
        with PageBlocks(title="ToDo vs ToMe", analytics_enabled=False, fill_width=True) as self.blocks:
            gr.HTML(render("heading", loaded=loaded, environment=environment(loaded.device)))
            with gr.Tabs(elem_id="tabs") as tabs:
                with gr.Tab("Compare", id=COMPARE), gr.Column(elem_classes="comparison"):
                    self._lay_out()
                with gr.Tab("Explore") as explore:
                    add_explore()
                    self._lay_out_exploring(tabs)
                with gr.Tab("How it works"):
                    add_how_it_works(loaded)
            self._connect()
            self._connect_exploring(explore)
            self._add_endpoint()
        # Gradio's queue lets them all start: runs wait in the queue of `server.runs`, and the page says so.
        self.blocks.queue(max_size=self.threads, default_concurrency_limit=16, api_open=False)

    @property
    def threads(self) -> int:
        """How many handlers may run at once: one for each run in the queue, and the others."""
        return self.runs.limits.in_line + 40

    # Layout

    def _lay_out(self) -> None:
        session, first = gr.State(Session()), first_settings(self.loaded, self.first_view.comparison)
        self.form = add_form(self.loaded, first, self.runs.limits)
        self.expectation = gr.HTML(self.expect(*first.values()), elem_id="expectation")
        what_is_said = gr.HTML(elem_id="message", js_on_load=_script("fields"))
        self.once_more = gr.Timer(LOOK_AGAIN, active=False)
        about = gr.HTML(self.first_view.about, elem_id="about")
        bars = gr.HTML(self.first_view.bars.html(), elem_id="bars")
        pictures = stage(self.first_view.pictures, introduce=True)
        strip = add_strip()
        details = add_details(self.first_view)
        gr.HTML(render("reading_help"), elem_classes="foot")
        memory, self.downloads = add_memory(list(first.values())), add_downloads()
        gr.HTML(html_template=render("connection"), js_on_load=_script("connection"), elem_id="connection")
        self.view = View(
            session, self.form.compare, self.form.stop, what_is_said, about, bars, pictures, details,
            strip, memory,
        )  # fmt: skip
        self.returning = Returning(self.form, self.view, self.visits, self.first_view, self.runs.limits.check)

    def _lay_out_exploring(self, tabs: gr.Tabs) -> None:
        self.exploring = Exploring(
            form=add_explore_form(self.form.first, self.form.presets),
            view=self.view,
            tabs=tabs,
            downloads=self.downloads,
            loaded=self.loaded,
            runs=self.runs,
            visits=self.visits,
            files=self.files,
        )

    # Events

    def _connect(self) -> None:
        form, view = self.form, self.view
        compared = gr.on(
            [form.compare.click, form.settings["prompt"].submit, form.settings["negative_prompt"].submit],
            self.compare_on_page,
            inputs=[view.session, *form.ordered],
            outputs=view.components,
            concurrency_limit=None,  # a run that finds the queue full is refused at once
            **UNLISTED,
        )
        repeated = view.details.repeat.click(
            self.repeat_on_page,
            inputs=[view.session, view.about],
            outputs=view.components,
            concurrency_limit=None,
            **UNLISTED,
        )
        view.memory.follow(
            self.follow_on_page, view.session, view.components, concurrency_limit=None, **UNLISTED
        )
        expecting = {"inputs": form.ordered, "outputs": self.expectation, "queue": False, **UNLISTED}
        gr.on(form.changed, self.expect, trigger_mode="always_last", **expecting)
        coming = gr.on(
            [self.blocks.load, self.once_more.tick],
            self.await_pace,
            None,
            self.once_more,
            queue=False,
            **UNLISTED,
        )
        coming.then(self.expect, **expecting)  # afterwards: what was not judged yet is asked again
        for before in (*form.connect(), compared, repeated, *self._connect_returning()):
            before.then(self.expect, **expecting)
        # A plain handler outside of gradio's queue: after `cancels=` the run would keep computing.
        form.stop.click(None, None, form.stop, js=STOPPING, queue=False, **UNLISTED)
        form.stop.click(self.stop, view.session, form.stop, queue=False, **UNLISTED)
        self.downloads.pack(
            self.pack,
            inputs=[view.session, view.about],
            outputs=[self.downloads, view.message],
            queue=False,
            **UNLISTED,
        )
        view.details.method.input(
            self.show_script,
            inputs=[view.session, view.details.method, view.about],
            outputs=[view.details.code, view.message],
            trigger_mode="always_last",
            **UNLISTED,
        )

    def _connect_exploring(self, tab: gr.Tab) -> None:
        exploring, view = self.exploring, self.view
        form = exploring.form
        inputs = [view.session, *form.settings, *self.form.ordered]
        outside = {"queue": False, "trigger_mode": "always_last", **UNLISTED}
        gr.on([form.measure.click, form.prompt.submit], self.explore_on_page, inputs, exploring.outputs,
              concurrency_limit=None, **UNLISTED)  # fmt: skip
        gr.on(form.changed, exploring.expect, inputs, form.standing, **outside)
        tab.select(exploring.look, inputs, [form.standing, form.board], **outside)
        form.stop.click(None, None, form.stop, js=STOPPING, queue=False, **UNLISTED)
        form.stop.click(self.stop, view.session, form.stop, queue=False, **UNLISTED)
        outputs = [exploring.tabs, form.standing, form.board, *view.components]
        shown = form.board.show(exploring.show, view.session, outputs, queue=False, **UNLISTED)
        shown.then(None, None, None, js=TO_STAGE, queue=False, **UNLISTED)
        form.board.export(
            exploring.export,
            view.session,
            [form.standing, exploring.downloads],
            concurrency_limit=None,
            **UNLISTED,
        )

    def _connect_returning(self) -> tuple[Dependency, ...]:
        """What brings settings back, after which something else is to be expected."""
        view, back = self.view, self.returning
        outside = {"outputs": back.outputs, "queue": False, **UNLISTED}
        return (
            view.memory.restore(back.restore, view.session, **outside),
            view.memory.picture(back.restore_picture, None, **outside),
            view.strip.act(back.act, view.session, **outside),
        )

    def expect(self, *settings: object) -> str:
        """What to expect of a comparison with these settings, or why there can be none, as HTML."""
        try:
            request = Request(**named(settings))
            plans = self.runs.plan(request)
        except InvalidRequest as error:
            return message("expectation", str(error))
        estimate = self.runs.pace.estimate(request, plans)
        return sentence(expectation_of(request, plans, estimate, self.runs.limits.seconds))

    def await_pace(self) -> gr.Timer:
        """A clock that asks again what to expect, while the pace of this machine is being judged."""
        return gr.Timer(LOOK_AGAIN, active=self.runs.is_judging)

    def compare_on_page(self, session: Session, http: gr.Request, *settings: object) -> Iterator[Updates]:
        """Compare. Gradio may never resume it after a `yield`: it holds nothing that others need."""
        view = self.view
        try:
            job = self.runs.accept(named(settings), _visit(http), "page")
        except InvalidRequest as error:
            yield {view.message: self._refusal(error)}
            return
        before, album = session.shown or self.first_view, Album(self.files)
        run = RunUpdates(view, session, job, before, album, lambda: self.runs.estimate(job.request))
        is_second = session.stop is not None
        if is_second:
            session.stop.ask(ANOTHER)
        session.stop, session.unfinished = job.stop, True
        session.followed = Followed(self.runs, job, run, on_lost=lambda: _end(session, job))
        self.visits.enter(session)

        def begin() -> Updates:
            # A first run that was stopped may have left half a picture on the stage.
            return {**(view.show(before, session) if is_second else {}), **run.begin()}

        yield from self._read(session, session.followed, begin)

    def follow_on_page(self, session: Session) -> Iterator[Updates]:
        """Go on with the run of a window that was loaded again."""
        last = session.followed
        if (followed := wait_until_left(session)) is None:
            yield self.returning.missed(session, last)
        else:
            yield from self._read(session, followed, followed.state.again)

    def _read(
        self, session: Session, followed: Followed[RunUpdates], begin: Callable[[], Updates]
    ) -> Iterator[Updates]:
        """What a run changes, to its end or to that of the window."""
        view, run, job = self.view, followed.state, followed.job
        try:
            with followed.reading() as events:
                yield begin()
                for event in events:
                    if session.stop is job.stop:  # what the window shows belongs to its last run
                        yield run.on(event)
        except (InvalidRequest, RunFailed) as error:
            if session.stop is job.stop:
                session.unfinished = False
                ended = view.end(self._refusal(error), session)
                try:
                    yield {**view.show(session.shown or self.first_view, session), **ended}
                except OSError:  # no room for the pictures of before, either
                    yield ended
        finally:
            if not followed.is_left:
                _end(session, job)

    def repeat_on_page(self, session: Session, about: str, http: gr.Request) -> Iterator[Updates]:
        """Compare again what is shown, more often."""
        request = (session.shown or self.first_view).request
        if request is None or self._is_gone(session, about):
            yield {self.view.message: message("error", GONE)}
            return
        again = replace(request, repeats=min(REPEATS, self.runs.limits.repeats))
        settings = (getattr(again, name) for name in SETTINGS)
        yield from self.compare_on_page(session, http, *settings)

    def explore_on_page(self, session: Session, http: gr.Request, *settings: object) -> Iterator[Updates]:
        """Measure what the tab Explore asks for."""
        yield from self.exploring.measure(session, _visit(http), *settings)

    def stop(self, session: Session) -> Updates:
        """End the run of this window. The run itself says when it has ended."""
        if session.stop is None:
            return gr.update(interactive=False, value="Stop")
        session.stop.ask()
        return gr.update(interactive=False, value="Stopping")

    def show_script(self, session: Session, method: str, about: str | None = None) -> tuple[str, Any]:
        """The script, and a message if it is gone."""
        if self._is_gone(session, about):
            return "", message("error", GONE)
        return (session.shown or self.first_view).script(method), gr.skip()

    def pack(self, session: Session, about: str, event: gr.EventData) -> tuple[Any, Any]:
        """What the visitor asked to take home, and a message if it is gone."""
        shown = session.shown or self.first_view
        if self._is_gone(session, about) or shown.comparison is None:
            return gr.skip(), message("error", GONE)
        try:
            return packed(shown, said(event, "what"), said(event, "asked")), gr.skip()
        except OSError as error:
            LOG.warning("a download failed: %s", error)
            return gr.skip(), message("error", DISK_FULL)

    def _refusal(self, error: InvalidRequest | RunFailed) -> str:
        """What was refused, at the field that it speaks of."""
        return message("error", str(error), self.form.id_of(getattr(error, "field", None)))

    def _is_gone(self, session: Session, about: str | None) -> bool:
        """Whether the window shows a result, which it says in `about`, of which the server knows no more."""
        is_new = session.shown is None and session.stop is None
        return is_new and about not in (None, self.first_view.about)

    # The API

    def _add_endpoint(self) -> None:
        with gr.Row(visible=False):
            # The page's own have the example's values. The prompt is required here, so it has none.
            own = {
                "prompt": gr.Textbox(label="Prompt"),
                "seed": gr.Number(0, label="Seed"),
                "methods": methods_group([method.id for method in known_methods() if method.preselected]),
                **method_inputs(),
            }
            # Not visible themselves, or browsers would fetch what shows them, and videos too.
            gallery = gr.Gallery(label="Pictures", format="png", visible=False)
            report = gr.JSON(label="Report", visible=False)
            inputs = {**self.form.settings, **own}
            gr.Button().click(
                self.compare,
                inputs=[inputs[name] for name in SETTINGS],
                outputs=[gallery, report],
                api_name=ENDPOINT,
                preprocess=False,  # it would answer nonsense with its own exceptions; `Request` checks all
                concurrency_limit=None,
            )


def _end(session: Session, job: Job) -> None:
    """A window has this run no longer."""
    if session.stop is job.stop:
        session.stop = None


def _script(name: str) -> str:
    return (TEMPLATES / f"{name}.js").read_text(encoding="utf-8")


def _visit(http: gr.Request) -> Visit:
    return visit_of(http.request.scope)


def main(arguments: Sequence[str] | None = None, lobby: Lobby | None = None) -> int:
    """Load the model and serve the page until Ctrl-C or SIGTERM. Returns the exit code.

    Args:
        arguments: of the command line (default: those of this process).
        lobby: what answers on the port until the page takes it over.
    """
    options = parse_options(arguments)
    log_as_json()
    raise_open_files_limit()
    try:
        loaded = load_pipeline(options.model, options.device, attention=options.attention)
    except ModelNotLoaded as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if loaded.fallback:
        print(f"note: {loaded.fallback}", file=sys.stderr)
    for missing in missing_methods():
        print(f"note: {missing}", file=sys.stderr)
    with temporary_folder(os.environ.get("GRADIO_TEMP_DIR")) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        return _serve(loaded, options, folder, lobby)


def _serve(loaded: LoadedPipeline, options: ServerOptions, folder: Path, lobby: Lobby | None = None) -> int:
    os.environ |= OF_GRADIO
    describe_page()
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
    if not LENDS_GPUS:  # where each run costs a visitor's quota
        first = loaded.request("a picture", steps=1, methods=(BASELINE.id,))
        threading.Thread(target=page.runs.judge_pace, args=[first], name="pace", daemon=True).start()
    port = options.port
    if lobby is not None:
        lobby.close()
        port = lobby.port
    try:
        with redirect_stdout(io.StringIO()):  # `quiet` does not reach what it says of MCP
            _, local, public = blocks.launch(
                server_name=options.host,
                server_port=port,
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
                app_kwargs={"routes": [*Health(page.runs).routes, ROUTE], "lifespan": door.lifespan},
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
    sys.exit(main(lobby=LOBBY))
