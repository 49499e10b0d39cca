"""From the events of a run to updates of the page's components, which `app.py` lays out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from PIL import Image

from compare.events import Event, Finished, MethodDone, MethodStarted, Started, StepDone, Stopped, Waiting
from compare.methods import Method, method_of
from compare.report import Comparison, Result
from compare.request import SIZE_MULTIPLE, Request
from compare.script import script_for
from page.html import message, render
from page.pictures import Album
from server.runs import Job, Stop

Updates = dict[gr.blocks.Block, Any]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page shows of a comparison.

    Args:
        album: the files of its pictures.
        request: what was asked for; None: nothing.
        comparison: what was measured; None: nothing yet.
        whose: the visitor's own, or the example.
        state: how it stands, as long as there is no comparison.
        unfinished: what is said of a method without a result.
        notes: what a reader of the numbers should know, as long as there is no comparison.
    """

    album: Album
    request: Request | None = None
    comparison: Comparison | None = None
    whose: str = "Your comparison"
    state: str = "running"
    unfinished: str = "Waiting to start."
    notes: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        return render("about", shown=self)

    @property
    def results(self) -> tuple[Result, ...]:
        return self.comparison.results if self.comparison else ()

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Label and id of the methods that have a result."""
        return [(result.label, result.method) for result in self.results]

    @property
    def pair(self) -> tuple[str | None, str | None]:
        """The two methods that are shown side by side at first."""
        if not self.results:
            return None, None
        first, *others = (result.method for result in self.results)
        preselected = [id for id in others if method_of(id).preselected]
        return first, (preselected or others or [first])[-1]

    def has_pane(self, method: Method) -> bool:
        return method.id in self.request.methods if self.request else method.preselected

    def result(self, id: str | None) -> Result | None:
        return self.comparison.result(id) if self.comparison else None

    def picture(self, id: str | None) -> dict[str, Any]:
        """What a `gr.Image` shows of a method."""
        if result := self.result(id):
            return picture(result, self.request, self.album)
        if self.request is None or id not in self.request.methods:
            return {"value": None, "alt_text": None}
        # It holds the place of a picture, of the same shape, so that the page does not jump.
        shape = (self.request.width // SIZE_MULTIPLE, self.request.height // SIZE_MULTIPLE)
        return {"value": self.album.file("nothing", Image.new("RGBA", shape)), "alt_text": ""}

    def card(self, id: str) -> str:
        """What stands under a method's picture."""
        result = self.result(id)
        return render("result", result=result) if result else message("quiet", self.unfinished)

    def script(self, id: str | None) -> str:
        """Lines of Python that make the picture of a method."""
        result = self.result(id)
        return script_for(self.request, id, self.comparison.model, steps=result.steps) if result else ""

    @property
    def report(self) -> str:
        if self.comparison is None:
            return ""
        return render("report", report=self.comparison.model_dump_json(indent=2) + "\n")


def picture(result: Result, request: Request, album: Album) -> dict[str, Any]:
    """What a `gr.Image` shows of a result."""
    return {
        "value": album.file(result.method, result.image),
        "alt_text": f"{result.label}: {request.prompt}",
    }


@dataclass(eq=False)
class Session:
    """What belongs to one browser window."""

    stop: Stop | None = None
    """Ends its run; None: it has none."""
    shown: Shown | None = None
    """Its last comparison; None: it shows the example."""


@dataclass(frozen=True)
class Pane:
    """The column of one method."""

    column: gr.Column
    picture: gr.Image
    card: gr.HTML


@dataclass(frozen=True)
class Wipe:
    """Two pictures on one place."""

    column: gr.Column
    left: gr.Dropdown
    right: gr.Dropdown
    left_picture: gr.Image
    right_picture: gr.Image

    def show(self, shown: Shown) -> Updates:
        left, right = shown.pair
        return {
            self.column: gr.update(visible=len(shown.results) > 1),
            self.left: gr.update(choices=shown.choices, value=left),
            self.right: gr.update(choices=shown.choices, value=right),
            self.left_picture: gr.update(**shown.picture(left)),
            self.right_picture: gr.update(**shown.picture(right)),
        }


@dataclass(frozen=True)
class Script:
    """The user's own script, and the report."""

    column: gr.Column
    method: gr.Dropdown
    code: gr.Code
    report: gr.HTML

    def show(self, shown: Shown) -> Updates:
        _, method = shown.pair
        return {
            self.column: gr.update(visible=bool(shown.results)),
            self.method: gr.update(choices=shown.choices, value=method),
            self.code: shown.script(method),
            self.report: shown.report,
        }


@dataclass(frozen=True)
class View:
    """The components that a run changes. None is a setting, so that the page keeps what was typed."""

    session: gr.State
    compare_button: gr.Button
    stop_button: gr.Button
    message: gr.HTML
    about: gr.HTML
    panes: Mapping[str, Pane]
    """By the id of the method."""
    wipe: Wipe
    script: Script

    @property
    def components(self) -> list[gr.blocks.Block]:
        regions = (*self.panes.values(), self.wipe, self.script)
        return [
            self.session, self.compare_button, self.stop_button, self.message, self.about,
            *(component for region in regions for component in vars(region).values()),
        ]  # fmt: skip

    def show(self, shown: Shown) -> Updates:
        """All that there is to see of a comparison."""
        updates = {self.about: shown.about, **self.wipe.show(shown), **self.script.show(shown)}
        for id, pane in self.panes.items():
            updates[pane.column] = gr.update(visible=shown.has_pane(method_of(id)))
            updates[pane.picture] = gr.update(**shown.picture(id))
            updates[pane.card] = shown.card(id)
        return updates

    def end(self, said: str) -> Updates:
        """A message, as HTML, after which Compare can be pressed again."""
        return {
            self.compare_button: gr.update(interactive=True),
            self.stop_button: gr.update(interactive=False),
            self.message: said,
        }


@dataclass(frozen=True)
class RunUpdates:
    """What one run changes, in the session and on the page.

    Args:
        album: new, for the pictures of this run.
    """

    view: View
    session: Session
    job: Job
    album: Album

    def begin(self) -> Updates:
        view = self.view
        return {
            **view.show(self._shown()),
            # Gradio deletes the session of a closed window only if a handler has returned it.
            view.session: self.session,
            view.compare_button: gr.update(interactive=False),
            view.stop_button: gr.update(interactive=True),
            view.message: message("progress", "Starting."),
        }

    def on(self, event: Event) -> Updates:
        view = self.view
        match event:
            case Waiting(seconds=seconds):
                said = f"Another comparison is running; this one is in the queue ({seconds:.0f} s)."
                return {view.message: message("progress", said)}
            case Started(notes=notes):
                said = "Warming up: one step and one decoding, not timed."
                return {view.message: message("progress", said), view.about: self._shown(notes=notes).about}
            case MethodStarted(method=id, steps=steps):
                said = f"{method_of(id).label} is running."
                return {view.message: message("progress", said), **self._progress(id, 0, steps, 0)}
            case StepDone(method=id, step=step, steps=steps, seconds=seconds, preview=preview):
                updates = self._progress(id, step, steps, seconds)
                if preview is not None:
                    updates[view.panes[id].picture] = gr.update(
                        value=self.album.pictures.save(preview, id),
                        alt_text=f"Preview of {method_of(id).label} after step {step}",
                    )
                return updates
            case MethodDone(result=result):
                pane = view.panes[result.method]
                return {
                    pane.picture: gr.update(**picture(result, self.job.request, self.album)),
                    pane.card: render("result", result=result),
                }
            case Finished(comparison=comparison):
                return self._end(comparison, "Done.")
            case Stopped(comparison=comparison):
                return self._end(comparison, self.job.stop.because or "Stopped.")
        return {view.session: self.session}  # gradio takes an empty dict for a value

    def _progress(self, id: str, step: int, steps: int, seconds: float) -> Updates:
        card = render("progress", method=method_of(id), step=step, steps=steps, seconds=seconds)
        return {self.view.panes[id].card: card}

    def _end(self, comparison: Comparison | None, said: str) -> Updates:
        shown = self._shown(
            comparison=comparison,
            state="stopped before the first picture",
            unfinished="Stopped before it was done.",
        )
        updates = {**self.view.show(shown), **self.view.end(message("progress", said))}
        if comparison is not None:
            self.session.shown = replace(shown, comparison=self.album.encoded(comparison))
        return updates

    def _shown(self, **known: Any) -> Shown:
        return Shown(album=self.album, request=self.job.request, **known)
