"""What brings something back: the page that is loaded again, a link, a dropped picture, the strip."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from compare.errors import InvalidRequest
from compare.request import Request
from page.form import Form
from page.html import message
from page.memory import remembered
from page.restored import Restored, from_json, from_link, from_request
from page.shown import Shown
from page.strip import strip_html
from page.updates import Updates, View
from page.visit import Session, Visits
from server.followed import PATIENCE, Followed

RELOADED = "Stopped: the page was loaded again."
LOADED_AGAIN = "Stopped, as the page was loaded again. What was measured until then stays."
WAS_EXPLORING = (
    "Your exploration was stopped, as the page was loaded again. Its points are in the tab Explore."
)
WAS_RUNNING = "Your comparison ended, as the page was away for too long. Press Compare to make it again."
WAS_LOST = "The server was restarted while your comparison was running. Press Compare to make it again."
FORGOTTEN = "The earlier comparisons of this visit are gone: the server was restarted, or needed the room."
OF_A_LINK = "These are the settings of a link. Press Compare to make its pictures."
OF_A_PICTURE = "These are the settings of the picture. Press Compare to make it again."
NO_PICTURE = "There are no settings in this file: drop a PNG that was made here, as it was downloaded."
IS_RUNNING = "A comparison is running. The earlier ones can be looked at when it is done, or after Stop."
NOT_KEPT = "This comparison is kept no longer."


@dataclass(frozen=True)
class Returning:
    """The handlers.

    Args:
        check: raises `InvalidRequest` for what this server does not give.
        first_view: what a window shows that has compared nothing.
    """

    form: Form
    view: View
    visits: Visits
    first_view: Shown
    check: Callable[[Request], None]

    @property
    def outputs(self) -> list[gr.blocks.Block]:
        """Of all handlers."""
        return [*self.view.components, *self.form.ordered]

    def restore(self, session: Session, event: gr.EventData) -> Updates:
        """The page is there, or the server is again: bring back the visit of this window, and the settings of
        its address, or else those that the browser has kept."""
        visit = _object(said(event, "visit"))
        token = visit.get("token")
        found = self.visits.find(token) if isinstance(token, str) else None
        session = found or session
        how = said(event, "how")
        if session.is_exploring and how == "reload":
            session.exploration.said, session.exploration.is_unseen = LOADED_AGAIN, True
            session.stop.ask(LOADED_AGAIN)
            session.stop = None
        # The second may be a copy of a window, with a copy of its token.
        goes_on = _is_left(session) or (session.stop is not None and how == "reload")
        sentence = "" if goes_on or session.stop is not None else self._ended(session)
        remember = remembered(session, is_on=goes_on, follow=goes_on)
        updates = {self.view.session: session, self.view.memory: remember}
        if goes_on:
            updates[self.view.compare_button] = gr.update(interactive=False)
        if token and not found:
            sentence = WAS_LOST if visit.get("running") is True else FORGOTTEN
            updates[self.view.strip] = strip_html(session)
        if session.shown is not None or session.strip or session.gone:
            updates |= self.view.show(session.shown or self.first_view, session)
        fields, link = self.form.settings, said(event, "link")
        restored = from_link(link, fields)
        if restored.settings or restored.left_out:  # a link says all, whatever was kept
            hint = "" if sentence or session.shown or how in ("reload", "back") else OF_A_LINK
            return updates | self._into_form(restored, sentence, hint)
        kept = from_json(said(event, "kept") or "{}", fields).settings
        updates |= {fields[name]: value for name, value in kept.items()}
        return {**updates, self.view.message: message("note", sentence)} if sentence else updates

    def restore_picture(self, event: gr.EventData) -> Updates:
        """Bring back the settings of a picture that was dropped on the page."""
        text = said(event, "settings")
        if not text:
            return {self.view.message: message("error", NO_PICTURE)}
        return self._into_form(from_json(text, self.form.settings), hint=OF_A_PICTURE)

    def act(self, session: Session, event: gr.EventData) -> Updates:
        """Show a comparison of the strip again, set it beside the others, or take its settings."""
        view = self.view
        if (kept := session.kept(said(event, "id"))) is None:
            return {view.message: message("error", NOT_KEPT), view.strip: strip_html(session)}
        what = said(event, "act")
        if what == "take":
            return self._into_form(from_request(kept.request, self.form.settings))
        if session.stop is not None:
            return {view.message: message("note", IS_RUNNING)}
        if what == "pin":
            session.pin(kept)
        else:
            session.shown = kept.shown
        return {view.message: "", **view.show(session.shown or self.first_view, session)}

    def missed(self, session: Session, followed: Followed | None) -> Updates:
        """How a run has ended that a window that was loaded again wants to follow, and cannot."""
        if session.followed is not followed:  # the window has begun another one meanwhile
            return {self.view.session: session}
        if session.stop is not None:  # the server has not noticed that the window was gone
            session.stop.ask(RELOADED)
        sentence = self._ended(session)
        shown = self.view.show(session.shown or self.first_view, session)
        return {**shown, **self.view.end(message("note", sentence) if sentence else "", session)}

    def _ended(self, session: Session) -> str:
        """What became of the last run of a window; "" if a window saw its end."""
        was_unfinished, session.unfinished = session.unfinished, False
        if session.exploration is not None and session.exploration.is_unseen:
            session.exploration.is_unseen = False
            return WAS_EXPLORING
        return WAS_RUNNING if was_unfinished else ""

    def _into_form(self, restored: Restored, sentence: str = "", hint: str = "") -> Updates:
        """The settings in the form, and a message that says what is wrong with them; or else the hint.

        Those that are not restored are what they are at first, as a link that leaves them out means these.
        """
        if not restored.settings:
            words = " ".join(filter(None, (sentence, restored.complaint)))
            return {self.view.message: message("error", words)}
        fields = self.form.settings
        settings = {**self.form.first, **restored.settings}
        kind, at = "note", None
        try:
            self.check(Request(**settings))
        except InvalidRequest as error:
            kind, at, hint = "error", self.form.id_of(error.field), str(error)
        words = " ".join(filter(None, (sentence, restored.complaint, hint)))
        updates = {fields[name]: value for name, value in settings.items()}
        return {**updates, self.view.message: message(kind, words, at) if words else ""}


def wait_until_left(session: Session, patience: float = PATIENCE) -> Followed | None:
    """The run of a window that was loaded again, as soon as the server has noticed that its stream has ended;
    None if there is none, or none that can be followed."""
    until, followed = time.monotonic() + patience, session.followed
    while session.stop is not None and session.followed is followed and time.monotonic() < until:
        if _is_left(session):
            return followed
        time.sleep(0.05)
    return None


def _is_left(session: Session) -> bool:
    return session.followed is not None and session.followed.is_left


def said(event: gr.EventData, name: str) -> str:
    """What an event brings under a name, if it is text: anybody can send one."""
    data = event._data
    value = data.get(name) if isinstance(data, dict) else None
    return value if isinstance(value, str) else ""


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
