"""What a window has compared in this visit: its last comparisons, and the one pinned beside others."""

from __future__ import annotations

import io
import secrets
import threading
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from PIL import Image

from compare.methods import BASELINE
from compare.request import METHOD_SETTINGS, Request
from page.api import SETTINGS
from page.exploration import Exploration
from page.shown import Shown
from page.stage import PINNED, Picture
from server.followed import Followed
from server.runs import Stop

KEPT = 6
"""Comparisons of a visit that are kept, the pinned one included."""
COMPARISONS = 200
"""Of all visits together. For one more, the visit that was idle longest loses its own."""
THUMBNAIL = 96  # pixels
OF_A_RUN = ("methods", "repeats")  # settings that change no picture of a method
NOT_OF_BASELINE = ("factor", *METHOD_SETTINGS, *OF_A_RUN)


@dataclass(frozen=True)
class Kept:
    """A comparison in the strip.

    Args:
        shown: with its pictures encoded.
        thumbnail: the address of a small picture, which holds the picture itself.
    """

    shown: Shown
    thumbnail: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    def of(cls, shown: Shown) -> Kept:
        """Of a comparison that has just ended.

        Raises:
            OSError: a file of it cannot be written.
        """
        small = thumbnail(shown.result(shown.first_choice).image)
        return cls(replace(shown, comparison=shown.album.encoded(shown.comparison)), small)

    @property
    def request(self) -> Request:
        return self.shown.request


@dataclass(eq=False)
class Session:
    """What belongs to one browser window, also when it is loaded again."""

    stop: Stop | None = None
    """Ends its run; None: it has none."""
    shown: Shown | None = None
    """The comparison on its stage; None: the example."""
    strip: tuple[Kept, ...] = ()
    """Its last comparisons, the oldest first."""
    pinned: Kept | None = None
    gone: int = 0
    """Comparisons of this visit that are kept no longer."""
    followed: Followed | None = None
    """Its last run, which a window that is loaded again can follow."""
    unfinished: bool = False
    """Whether that had no end that a window saw."""
    exploration: Exploration | None = None
    """Its last one in the tab Explore."""
    token: str = ""
    """By which the window finds it again; "" before its first comparison."""

    @property
    def is_exploring(self) -> bool:
        """Whether its run is an exploration."""
        return self.stop is not None and self.exploration is not None and not self.exploration.said

    def keep(self, kept: Kept) -> None:
        """Put a comparison on the stage and into the strip."""
        self.shown = kept.shown
        self.add(kept)

    def add(self, kept: Kept) -> None:
        """Put a comparison into the strip, where the oldest may have to go for it."""
        self.strip = (*self.strip, kept)
        if len(self.strip) > KEPT:
            oldest = next(each for each in self.strip if each is not self.pinned)
            self.strip = tuple(each for each in self.strip if each is not oldest)
            self.gone += 1

    def kept(self, id: str) -> Kept | None:
        """The comparison with this id; None: it is kept no longer."""
        return next((kept for kept in self.strip if kept.id == id), None)

    def pin(self, kept: Kept) -> None:
        """Set it beside all others; or no longer, if it was."""
        self.pinned = None if kept is self.pinned else kept

    def beside(self, pictures: Sequence[Picture], request: Request) -> tuple[Picture, ...]:
        """Pictures of a request with those of the pinned comparison, each after that of the same method.

        Raises:
            OSError: a file of those cannot be written.
        """
        if self.pinned is None or self.pinned.request is request:
            return tuple(pictures)
        theirs = self.pinned.request
        of_ours, of_theirs = difference(request, theirs), difference(theirs, request)
        pinned = {
            picture.id: replace(
                picture,
                id=PINNED + picture.id,
                label=f"{picture.label}, {of_theirs or 'pinned'}",
                alt=f"Pinned: {picture.alt}",
            )
            for picture in self.pinned.shown.pictures
        }
        if _same(request, theirs, NOT_OF_BASELINE):
            pinned.pop(BASELINE.id, None)
        pairs = []
        for picture in pictures:
            other = pinned.pop(picture.id, None)
            is_told_apart = other is not None and of_ours
            pairs.append(replace(picture, label=f"{picture.label}, {of_ours}") if is_told_apart else picture)
            pairs += [other] if other else []
        return (*pairs, *pinned.values())

    def forget(self) -> None:
        """Let go of all comparisons."""
        self.gone += len(self.strip)
        self.shown, self.strip, self.pinned, self.exploration = None, (), None, None


class Visits:
    """The sessions of windows by their tokens, for windows that are loaded again.

    Args:
        most: comparisons that all of them keep together.
    """

    def __init__(self, most: int = COMPARISONS) -> None:
        self._most = most
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def enter(self, session: Session) -> None:
        """A window compares. Whoever was idle longest may lose their comparisons for it."""
        with self._lock:
            session.token = session.token or secrets.token_urlsafe(16)
            self._sessions[session.token] = session
            self._sessions.move_to_end(session.token)
            # A session without a comparison is small, but there may be no end of them.
            while len(self._sessions) > 1 and self._size() > self._most:
                self._sessions.popitem(last=False)[1].forget()

    def find(self, token: str) -> Session | None:
        """The session with this token; None: there is none any more."""
        with self._lock:
            if token in self._sessions:
                self._sessions.move_to_end(token)
            return self._sessions.get(token)

    def _size(self) -> int:
        return sum(max(len(session.strip), 1) for session in self._sessions.values())


def thumbnail(image: Image.Image) -> str:
    """The address of a small copy of a picture, which holds the copy itself."""
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{b64encode(data.getvalue()).decode()}"


def difference(request: Request, other: Request) -> str:
    """What one request says otherwise than another, beside what the labels of methods say: "factor 2"."""
    words = [
        f"{name.replace('_', ' ')} {_short(getattr(request, name))}"
        for name in SETTINGS
        if name not in (*OF_A_RUN, *METHOD_SETTINGS) and getattr(request, name) != getattr(other, name)
    ]
    return ", ".join(words[:2])


def _same(request: Request, other: Request, but: Sequence[str]) -> bool:
    return all(getattr(request, name) == getattr(other, name) for name in SETTINGS if name not in but)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:19]}…"
