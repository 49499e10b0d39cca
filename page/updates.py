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
from page.memory import remembered
from page.pictures import Album
from page.shown import Shown, picture, place
from page.stage import Picture, stage_value
from page.strip import strip_html
from page.visit import Kept, Session
from server.runs import Job

Updates = dict[gr.blocks.Block, Any]
STILL_RUNNING = "Your comparison goes on."
NOTHING_YET = "Stopped. There was no picture yet; what was shown before is back."


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
    strip: gr.HTML
    memory: gr.HTML

    @property
    def components(self) -> list[gr.blocks.Block]:
        return [
            self.session, self.compare_button, self.stop_button, self.message, self.about, self.bars,
            self.stage, *vars(self.details).values(), self.strip, self.memory,
        ]  # fmt: skip

    def show(self, shown: Shown, session: Session) -> Updates:
        """All that there is to see of a comparison in a window."""
        return {
            self.about: shown.about,
            self.bars: shown.bars.html(),
            self.stage: stage_value(session.beside(shown.pictures, shown.request)),
            **self.details.show(shown),
            self.strip: strip_html(session),
        }

    def end(self, said: str, session: Session) -> Updates:
        """A message, as HTML, after which Compare can be pressed again."""
        return {
            self.compare_button: gr.update(interactive=True),
            self.stop_button: gr.update(interactive=False, value="Stop"),
            self.message: said,
            self.memory: remembered(session, is_on=False),
        }


@dataclass
class RunUpdates:
    """What one run changes, in the session and on the page.

    Args:
        before: what the page shows until the first picture, and again if there is none.
        album: new, for the pictures of this run.
        estimate: how long the run takes, judged by all that was timed until now.
    """

    view: View
    session: Session
    job: Job
    before: Shown
    album: Album
    estimate: Callable[[], Estimate | None]
    bars: Bars = field(init=False)
    pictures: dict[str, Picture] = field(init=False)
    """By the id of the method: what is on the stage, once there is one."""
    has_picture: bool = field(default=False, init=False)
    notes: tuple[str, ...] = field(default=(), init=False)
    ending: Updates | None = field(default=None, init=False)
    """The last of all."""

    def __post_init__(self) -> None:
        request = self.job.request
        self.bars = Bars.waiting(request).expecting(self.estimate())
        self.pictures = {method.id: place(method.id, request) for method in request.chosen}

    def begin(self) -> Updates:
        view = self.view
        return {
            view.about: self._on_the_way().about,
            view.bars: self.bars.html(),
            # Gradio deletes the session of a closed window only if a handler has returned it.
            view.session: self.session,
            view.compare_button: gr.update(interactive=False),
            view.stop_button: gr.update(interactive=True, value="Stop"),
            view.memory: remembered(self.session, is_on=True),
            view.message: message("progress", "Starting."),
        }

    def again(self) -> Updates:
        """All that it has changed so far, for a window that was loaded again."""
        if self.ending is not None:
            return self.ending
        had_picture, self.has_picture = self.has_picture, False
        on_stage = self._on_stage() if had_picture else {}
        return {**self.begin(), **on_stage, self.view.message: message("note", STILL_RUNNING)}

    def on(self, event: Event) -> Updates:
        view = self.view
        self.bars = self.bars.after(event)
        match event:
            case Waiting(seconds=seconds, ahead=ahead):
                self.bars = replace(self.bars, ahead=ahead)
                said = f"Another comparison is running; this one is in the queue ({seconds:.0f} s)."
                return {view.message: message("progress", said), view.bars: self.bars.html()}
            case Started(notes=notes):
                self.bars, self.notes = replace(self.bars, ahead=None), notes
                said = "Warming up: one step and one decoding, not timed."
                return {
                    view.message: message("progress", said),
                    view.about: self._on_the_way().about,
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
                self.ending = self._end(comparison, message("progress", "Done."))
                return self.ending
            case Stopped(comparison=comparison):
                why = self.job.stop.because or ("Stopped." if comparison else NOTHING_YET)
                self.ending = self._end(comparison, message("stopped", why))
                return self.ending
        return {view.session: self.session}  # gradio takes an empty dict for a value

    def _going_on(self) -> Updates:
        return {self.view.bars: self.bars.html(), **self._on_stage()}

    def _on_stage(self) -> Updates:
        """With the first picture, what was shown before goes."""
        pictures = self.session.beside(tuple(self.pictures.values()), self.job.request)
        updates = {self.view.stage: stage_value(pictures)}
        if not self.has_picture:
            self.has_picture = True
            shown = self._on_the_way()
            updates |= {self.view.about: shown.about, **self.view.details.show(shown)}
        return updates

    def _end(self, comparison: Comparison | None, said: str) -> Updates:
        """`said` is HTML."""
        view, session = self.view, self.session
        session.unfinished = False
        if comparison is None:
            return {**view.show(self.before, session), **view.end(said, session)}
        begun = frozenset(bar.method.id for bar in self.bars.bars if bar.state != "waiting")
        shown = Shown(album=self.album, request=self.job.request, comparison=comparison, begun=begun)
        session.keep(Kept.of(shown))
        return {**view.show(shown, session), **view.end(said, session)}

    def _on_the_way(self) -> Shown:
        waits = not self.has_picture and self.before.results
        aside = "Until its first picture you see the one before." if waits else ""
        return Shown(album=self.album, request=self.job.request, aside=aside, notes=self.notes)
