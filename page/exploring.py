"""The second part of the tab Explore, where visitors measure for themselves: its form and its handlers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr

from compare.errors import InvalidRequest, QueueFull, RunFailed
from compare.events import Finished, MethodDone, Stopped, Waiting
from compare.methods import BASELINE, known_methods
from compare.models.load import LoadedPipeline
from compare.report import Comparison
from compare.request import Request
from page.api import SETTINGS, named
from page.bars import Bars
from page.downloads import archive_of_rows, saved
from page.exploration import Exploration, requests_of
from page.html import message, render
from page.memory import remembered
from page.pictures import Album, Pictures
from page.presets import FACTORS, Preset
from page.returning import LOADED_AGAIN, NOT_KEPT, said
from page.shown import Shown, picture, rows_name
from page.strip import strip_html
from page.updates import Updates, View
from page.visit import Kept, Session, Visits
from server.front_door.visits import Visit
from server.runs import DISK_FULL, Job, Runs, Stop

LOG = logging.getLogger("page.exploring")
SCRIPT = Path(__file__).parent / "templates" / "exploration.js"
COMPARE = "compare"
"""The id of the other tab."""
TO_STAGE = "() => { document.getElementById('stage').scrollIntoView(); }"
"""In the browser: the pictures are in sight, however far down the tab Explore was scrolled."""
OFFERED = (*((str(factor), str(factor)) for factor in FACTORS), ("2 on two levels", "2, 2"))
"""Factors, as they are shown and as they are typed."""
PRESELECTED = ("tome", "todo", "todo-rotating")
IS_RUNNING = "A comparison of this window is running. Wait for it, or stop it."
DONE = "Done. Its comparisons are in the strip of the tab Compare, too."
STOPPED = "Stopped. What was measured until then stays."
EXPORTING = "Scoring the pictures, as soon as no comparison is running."
ANOTHERS = "The rows of another visitor are being made. Try again in a moment."
PARTLY_GONE = "Without {count} of the comparisons, which are kept no longer."


@dataclass(frozen=True)
class ExploreForm:
    """The components."""

    prompt: gr.Textbox
    size: gr.Radio
    factors: gr.CheckboxGroup
    methods: gr.CheckboxGroup
    measure: gr.Button
    stop: gr.Button
    standing: gr.HTML
    """How an exploration stands, or what was wrong."""
    board: gr.HTML
    """What was measured. Its event `show` brings the `id` of a comparison to be shown; `export` asks for
    the rows."""

    @property
    def settings(self) -> list[gr.components.Component]:
        """In the order in which `requests` takes them."""
        return [self.prompt, self.size, self.factors, self.methods]

    @property
    def changed(self) -> list[Callable[..., Any]]:
        """The triggers by which a visitor changes them."""
        return [self.prompt.blur, self.size.input, self.factors.input, self.methods.input]

    @property
    def results(self) -> list[gr.components.Component]:
        """What an exploration changes."""
        return [self.measure, self.stop, self.standing, self.board]


def add_explore_form(first: Mapping[str, Any], presets: tuple[Preset, ...]) -> ExploreForm:
    """Lay it out.

    Args:
        first: what the form of the tab Compare says at first.
    """
    sides = [preset.side for preset in presets]
    methods = [method for method in known_methods() if method is not BASELINE]
    gr.HTML(render("exploring_help"), elem_id="measure-yourself", apply_default_css=False)
    with gr.Column(elem_classes="controls"):
        with gr.Row(elem_classes="go"):
            prompt = gr.Textbox(
                first["prompt"], label="Prompt to explore", placeholder="What to draw", max_lines=4, scale=6,
                show_label=False, container=False, elem_id="explore-prompt", min_width=280,
            )  # fmt: skip
            measure = gr.Button("Measure", variant="primary", elem_id="measure", scale=0, min_width=140)
            stop = gr.Button("Stop", interactive=False, elem_id="stop-exploring", scale=0, min_width=110)
        with gr.Row(elem_classes="choices"):
            size = gr.Radio(
                sides, value=first["width"] if first["width"] in sides else sides[0], label="Size",
                elem_id="explore-size", min_width=0,
            )  # fmt: skip
            factors = gr.CheckboxGroup(
                list(OFFERED),
                value=list(map(str, FACTORS)),
                label="Factors",
                elem_id="explore-factors",
                min_width=0,
            )
            chosen = gr.CheckboxGroup(
                [(method.label, method.id) for method in methods], value=list(PRESELECTED), label="Methods",
                elem_id="explore-methods", min_width=280,
            )  # fmt: skip
    standing = gr.HTML(elem_id="standing")
    board = gr.HTML(
        elem_id="exploration", js_on_load=SCRIPT.read_text(encoding="utf-8"), apply_default_css=False
    )
    return ExploreForm(prompt, size, factors, chosen, measure, stop, standing, board)


@dataclass(frozen=True)
class Exploring:
    """The handlers."""

    form: ExploreForm
    view: View
    tabs: gr.Tabs
    downloads: gr.HTML
    loaded: LoadedPipeline
    runs: Runs
    visits: Visits
    files: Pictures
    scoring: threading.Lock = field(default_factory=threading.Lock)
    """One visitor at a time: it takes a place in the queue."""

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """Of `measure`."""
        return [*self.form.results, self.view.session, self.view.strip, self.view.memory]

    def requests(self, *settings: object) -> tuple[Request, ...]:
        """What is asked for.

        Args:
            settings: the values of the form's settings, and those of the tab Compare, which say the rest.

        Raises:
            InvalidRequest: also if this server or this model does not give it.
        """
        prompt, side, factors, methods, *others = settings
        own = {"prompt": prompt, "width": side, "height": side, "methods": methods, "repeats": 1}
        requests = requests_of({**named(others), **own}, factors)
        for request in requests:
            self.runs.limits.check(request)
            self.runs.plan(request)
        return requests

    def expect(self, session: Session, *settings: object) -> str:
        """What to expect of it, or why there can be none, as HTML."""
        if session.exploration is not None and not session.exploration.said:
            return session.exploration.standing
        try:
            requests = self.requests(*settings)
        except InvalidRequest as error:
            return message("note", str(error))
        return render(
            "exploring_expectation", expected=Exploration(requests), seconds=self._seconds(requests)
        )

    def measure(self, session: Session, visit: Visit, *settings: object) -> Iterator[Updates]:
        """Run the comparisons one after another. Gradio may never resume it after a `yield`."""
        try:
            if session.stop is not None:
                raise InvalidRequest(IS_RUNNING)
            requests = self.requests(*settings)
        except InvalidRequest as error:
            yield {self.form.standing: message("error", str(error))}
            return
        exploration = session.exploration = Exploration(requests)
        stop = session.stop = Stop()
        self.visits.enter(session)
        yield self._begun(session)
        try:
            for number, request in enumerate(requests):
                exploration.to_come = self._seconds(requests[number + 1 :])
                job = self.runs.accept({name: getattr(request, name) for name in SETTINGS}, visit, "page")
                job.stop = stop  # one for all of them
                yield from self._compare(session, exploration, job)
                if stop.is_set():
                    exploration.said = stop.because or STOPPED
                    break
            else:
                exploration.said = DONE
        except (InvalidRequest, RunFailed) as error:
            exploration.said = str(error)
        finally:  # also if the window has gone
            if not exploration.said:
                exploration.said, exploration.is_unseen = LOADED_AGAIN, True
            if session.stop is stop:
                session.stop = None
        yield self._ended(session)

    def _compare(self, session: Session, exploration: Exploration, job: Job) -> Iterator[Updates]:
        """One of its comparisons."""
        request, album = job.request, Album(self.files)
        exploration.bars = Bars.waiting(request).expecting(self.runs.estimate(request))
        with self.runs.events(job) as events:
            for event in events:
                bars = exploration.bars = exploration.bars.after(event)
                match event:
                    case Waiting(ahead=ahead):
                        exploration.bars = replace(bars, ahead=ahead)
                    case MethodDone(result=result):
                        exploration.bars = bars.expecting(self.runs.estimate(request))
                        column = next(bar.column for bar in bars.bars if bar.method.id == result.method)
                        picture(column, bars.baseline, request, album)  # now, when no clock runs
                        if not result.is_baseline:
                            exploration.add(column)
                            yield self._looks(session)
                            continue
                    case Finished(comparison=comparison) | Stopped(comparison=comparison):
                        self._keep(
                            session, exploration, Shown(album=album, request=request, comparison=comparison)
                        )
                        yield {**self._looks(session), self.view.strip: strip_html(session)}
                        continue
                yield {self.form.standing: exploration.standing}

    def _keep(self, session: Session, exploration: Exploration, shown: Shown) -> None:
        """A comparison has ended, and can have no picture if it was stopped."""
        if shown.comparison is None:
            return
        kept = Kept.of(shown)
        session.add(kept)
        exploration.ended(kept.id)

    def look(self, session: Session, *settings: object) -> Updates:
        """Somebody looks at the tab: what was measured, or what to expect."""
        if session.exploration is not None:
            return self._looks(session)
        return {self.form.board: "", self.form.standing: self.expect(session, *settings)}

    def show(self, session: Session, event: gr.EventData) -> Updates:
        """Bring the pictures of a point onto the stage of the other tab."""
        if (kept := session.kept(said(event, "id"))) is None:
            return {**self._looks(session), self.form.standing: message("error", NOT_KEPT)}
        if session.stop is not None and not session.is_exploring:
            return {self.form.standing: message("note", IS_RUNNING)}
        session.shown = kept.shown
        return {
            self.tabs: gr.Tabs(selected=COMPARE),
            self.view.message: "",
            **self.view.show(kept.shown, session),
        }

    def export(self, session: Session) -> Iterator[Updates]:
        """The rows, as an archive, as soon as nothing runs whose times scoring would disturb."""
        exploration = session.exploration or Exploration(())
        kept = [each for each in map(session.kept, exploration.comparisons) if each is not None]
        standing = self.form.standing
        if not kept:
            yield {standing: message("error", NOT_KEPT)}
            return
        if not self.scoring.acquire(blocking=False):
            yield {standing: message("note", ANOTHERS)}
            return
        try:
            yield {standing: message("note", EXPORTING)}
            file = self._rows([each.shown.comparison for each in kept])
            gone = exploration.done - len(kept)
            yield {
                standing: message("note", PARTLY_GONE.format(count=gone) if gone else exploration.said),
                self.downloads: saved(file, rows_name(exploration.first)),
            }
        except QueueFull as error:
            yield {standing: message("error", str(error))}
        except OSError:
            LOG.exception("an export failed")
            yield {standing: message("error", DISK_FULL)}
        finally:
            self.scoring.release()

    def _rows(self, comparisons: Sequence[Comparison]) -> str:
        with self.runs.alone():
            return self.files.save_bytes(archive_of_rows(self.loaded, comparisons), "rows", ".zip")

    def _begun(self, session: Session) -> Updates:
        return {
            self.form.measure: gr.update(interactive=False),
            self.form.stop: gr.update(interactive=True, value="Stop"),
            # Gradio deletes the session of a closed window only if a handler has returned it.
            self.view.session: session,
            self.view.memory: remembered(session, is_on=True),
            **self._looks(session),
        }

    def _ended(self, session: Session) -> Updates:
        return {
            self.form.measure: gr.update(interactive=True),
            self.form.stop: gr.update(interactive=False, value="Stop"),
            self.view.memory: remembered(session, is_on=session.stop is not None),
            self.view.strip: strip_html(session),
            **self._looks(session),
        }

    def _looks(self, session: Session) -> Updates:
        """How the exploration stands, and what it has measured."""
        if (exploration := session.exploration) is None:
            return {self.form.board: ""}
        ids = [kept.id for kept in session.strip]
        return {self.form.standing: exploration.standing, self.form.board: exploration.html(ids)}

    def _seconds(self, requests: Sequence[Request]) -> float | None:
        """Of comparisons, one after another; None: nobody knows."""
        estimates = [self.runs.estimate(request) for request in requests]
        return None if None in estimates else sum(estimate.seconds for estimate in estimates)
