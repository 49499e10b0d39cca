"""From the events of a run to updates of the page's components, which `app.py` lays out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr

from compare.events import Event, Finished, MethodDone, MethodStarted, Started, StepDone, Stopped, Waiting
from compare.experiment.pace import Estimate
from compare.methods import method_of
from compare.report import Comparison
from page.bars import Bars
from page.details import Details
from page.html import message
from page.pictures import Album
from page.shown import Shown, picture, place
from page.stage import Picture, stage_value
from server.runs import Job, Stop

Updates = dict[gr.blocks.Block, Any]


@dataclass(eq=False)
class Session:
    """What belongs to one browser window."""

    stop: Stop | None = None
    """Ends its run; None: it has none."""
    shown: Shown | None = None
    """Its last comparison; None: it shows the example."""


@dataclass(frozen=True)
class View:
    """The components that a run changes. None is a setting, so that the page keeps what was typed."""

    session: gr.State
    compare_button: gr.Button
    stop_button: gr.Button
    message: gr.HTML
    about: gr.HTML
    bars: gr.HTML
    stage: gr.HTML
    details: Details

    @property
    def components(self) -> list[gr.blocks.Block]:
        return [
            self.session, self.compare_button, self.stop_button, self.message, self.about, self.bars,
            self.stage, *vars(self.details).values(),
        ]  # fmt: skip

    def show(self, shown: Shown) -> Updates:
        """All that there is to see of a comparison."""
        return {
            self.about: shown.about,
            self.bars: shown.bars.html(),
            self.stage: stage_value(shown.pictures),
            **self.details.show(shown),
        }

    def end(self, said: str) -> Updates:
        """A message, as HTML, after which Compare can be pressed again."""
        return {
            self.compare_button: gr.update(interactive=True),
            self.stop_button: gr.update(interactive=False, value="Stop"),
            self.message: said,
        }


@dataclass
class RunUpdates:
    """What one run changes, in the session and on the page.

    Args:
        album: new, for the pictures of this run.
        estimate: how long the run takes, judged by all that was timed until now.
    """

    view: View
    session: Session
    job: Job
    album: Album
    estimate: Callable[[], Estimate | None]
    bars: Bars = field(init=False)
    pictures: dict[str, Picture] = field(init=False)
    """By the id of the method: what is on the stage."""

    def __post_init__(self) -> None:
        request = self.job.request
        self.bars = Bars.waiting(request).expecting(self.estimate())
        self.pictures = {method.id: place(method.id, request) for method in request.chosen}

    def begin(self) -> Updates:
        view = self.view
        return {
            **view.show(self._shown()),
            **self._going_on(),
            # Gradio deletes the session of a closed window only if a handler has returned it.
            view.session: self.session,
            view.compare_button: gr.update(interactive=False),
            view.stop_button: gr.update(interactive=True),
            view.message: message("progress", "Starting."),
        }

    def on(self, event: Event) -> Updates:
        view = self.view
        self.bars = self.bars.after(event)
        match event:
            case Waiting(seconds=seconds, ahead=ahead):
                self.bars = replace(self.bars, ahead=ahead)
                said = f"Another comparison is running; this one is in the queue ({seconds:.0f} s)."
                return {view.message: message("progress", said), view.bars: self.bars.html()}
            case Started(notes=notes):
                self.bars = replace(self.bars, ahead=None)
                said = "Warming up: one step and one decoding, not timed."
                return {
                    view.message: message("progress", said),
                    view.about: self._shown(notes=notes).about,
                    view.bars: self.bars.html(),
                }
            case MethodStarted(method=id):
                said = f"{method_of(id).label} is warming up: one step, not timed."
                return {view.message: message("progress", said), view.bars: self.bars.html()}
            case StepDone(method=id, step=step, preview=preview):
                updates = {view.bars: self.bars.html()}
                if step == 1:
                    updates[view.message] = message("progress", f"{method_of(id).label} is running.")
                if preview is not None:
                    file = self.album.pictures.save(preview, id)
                    alt = f"Preview of {method_of(id).label} after step {step}"
                    self.pictures[id] = place(id, self.job.request, file, alt)
                    updates |= self._on_stage()
                return updates
            case MethodDone(result=result):
                self.bars = self.bars.expecting(self.estimate())
                column = next(bar.column for bar in self.bars.bars if bar.method.id == result.method)
                self.pictures[result.method] = picture(
                    column, self.bars.baseline, self.job.request, self.album
                )
                return self._going_on()
            case Finished(comparison=comparison):
                return self._end(comparison, message("progress", "Done."))
            case Stopped(comparison=comparison):
                return self._end(comparison, message("stopped", self.job.stop.because or "Stopped."))
        return {view.session: self.session}  # gradio takes an empty dict for a value

    def _going_on(self) -> Updates:
        return {self.view.bars: self.bars.html(), **self._on_stage()}

    def _on_stage(self) -> Updates:
        return {self.view.stage: stage_value(tuple(self.pictures.values()))}

    def _end(self, comparison: Comparison | None, said: str) -> Updates:
        """`said` is HTML."""
        begun = frozenset(bar.method.id for bar in self.bars.bars if bar.state != "waiting")
        shown = self._shown(comparison=comparison, state="stopped before the first picture", begun=begun)
        updates = {**self.view.show(shown), **self.view.end(said)}
        if comparison is not None:
            self.session.shown = replace(shown, comparison=self.album.encoded(comparison))
        return updates

    def _shown(self, **known: Any) -> Shown:
        return Shown(album=self.album, request=self.job.request, **known)
