"""A few clients at once; `python -m tests.load` is the long version."""

from __future__ import annotations

from compare import Request, load_pipeline
from tests.helpers.server import MODEL, Server
from tests.helpers.visitors import metric, wait_until
from tests.load import Answer, ask_all, mixed_requests, what_is_wrong


def test_many_at_once_each_get_what_their_request_gives_alone(server: Server) -> None:
    asked = mixed_requests(6, different=3)
    answers = ask_all(server.address, asked, clients=3)
    assert list(what_is_wrong(load_pipeline(*MODEL[1::2]), asked, answers)) == []
    wait_until(lambda: metric(server, "todo_in_line") == 0)


def test_lost_swapped_and_changed_pictures_are_found(loaded, monkeypatch) -> None:
    one, other = mixed_requests(2, different=2)
    kinds = {one: {"todo": b"1"}, other: {"todo": b"2"}}
    monkeypatch.setattr("tests.load.alone", lambda _, request: kinds[request])

    def answer(asked: Request, reported: Request, pictures: dict[str, bytes]) -> Answer:
        return Answer(asked, reported, pictures, frozenset({reported.prompt}))

    def wrong(*answers: Answer) -> int:
        return len(list(what_is_wrong(loaded, [one, other], answers)))

    right = [answer(one, one, kinds[one]), answer(other, other, kinds[other])]
    assert wrong(*right) == 0
    assert wrong(right[0]) == 1  # lost
    assert wrong(right[0], answer(other, one, kinds[one])) == 1  # swapped
    assert wrong(right[0], answer(other, other, kinds[one])) == 1  # changed by the other one
