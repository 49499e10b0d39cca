"""What is kept of a visit."""

from __future__ import annotations

from compare.request import Request
from page.pictures import Album
from page.shown import Shown
from page.stage import Picture
from page.visit import KEPT, Kept, Session, Visits, difference


def request(**changes: object) -> Request:
    settings = {"prompt": "a fox", "width": 64, "height": 64, "steps": 2, "guidance_scale": 4.0, **changes}
    return Request(**settings)


def kept(**changes: object) -> Kept:
    return Kept(Shown(album=Album(None), request=request(**changes)), "data:,")


def test_the_last_comparisons_are_kept_and_how_many_are_gone_is_known() -> None:
    session, all_of_them = Session(), [kept(seed=seed) for seed in range(KEPT + 2)]
    for each in all_of_them:
        session.keep(each)
    assert session.strip == tuple(all_of_them[2:])
    assert session.gone == 2
    assert session.kept(all_of_them[0].id) is None
    assert session.shown is all_of_them[-1].shown


def test_the_pinned_one_stays() -> None:
    session, first = Session(), kept()
    session.keep(first)
    session.pin(first)
    for seed in range(KEPT + 3):
        session.keep(kept(seed=seed))
    assert session.kept(first.id) is first
    assert len(session.strip) == KEPT
    session.pin(first)
    assert session.pinned is None


def test_a_visit_is_found_again_by_its_token_alone() -> None:
    visits, session = Visits(), Session()
    visits.enter(session)
    assert visits.find(session.token) is session
    assert visits.find("") is None
    other = Session()
    visits.enter(other)
    assert other.token != session.token


def test_all_visits_together_keep_so_many_and_the_idle_one_loses() -> None:
    visits, sessions = Visits(most=5), [Session() for _ in range(3)]
    for session in sessions:
        visits.enter(session)
        session.keep(kept())
        session.keep(kept())
    visits.find(sessions[0].token)
    visits.enter(sessions[0])
    assert [len(session.strip) for session in sessions] == [2, 0, 2]
    assert sessions[1].gone == 2
    assert visits.find(sessions[1].token) is None


def test_windows_without_a_comparison_are_not_kept_for_ever() -> None:
    visits = Visits(most=5)
    first = Session()
    visits.enter(first)
    for _ in range(5):
        visits.enter(Session())
    assert visits.find(first.token) is None


def test_what_differs_is_said_in_a_few_words() -> None:
    assert difference(request(factor=2), request(factor=4)) == "factor 2"
    assert difference(request(factor=2, repeats=2), request(methods=("todo",))) == ""
    said = difference(request(prompt="x" * 200, seed=1, steps=3), request())
    assert said == f"prompt {'x' * 19}…, steps 3"


def picture(id: str, label: str) -> Picture:
    return Picture(id=id, label=label, path="", caption="", alt="", name="", width=8, height=8)


def test_nothing_is_beside_without_a_pin_nor_beside_itself() -> None:
    session, ours = Session(), [picture("todo", "ToDo")]
    assert session.beside(ours, request()) == tuple(ours)
    first = kept()
    session.keep(first)
    session.pin(first)
    assert session.beside(ours, first.request) == tuple(ours)
