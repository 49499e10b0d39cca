"""What one visitor may ask for."""

from __future__ import annotations

import pytest

from compare.errors import InvalidRequest
from compare.request import Request
from server.limits import Limits
from tests.helpers.visitors import SETTINGS


@pytest.mark.parametrize(
    ("limits", "changes", "says"),
    [
        (
            Limits(megapixel_steps=1),
            {"width": 512, "height": 256, "steps": 25, "methods": ["baseline", "todo"], "repeats": 3},
            "are 20 megapixel-steps; this server allows 1 in a request",
        ),
        (Limits(prompt_characters=4), {}, "The prompt can have 4 characters on this server; this one has 5"),
        (Limits(prompt_characters=8), {"negative_prompt": "a" * 9}, "The negative prompt can have 8"),
        (Limits(repeats=2), {"repeats": 3}, "Repeats can be at most 2 on this server, not 3"),
    ],
)
def test_over_a_limit_a_sentence_says_which_and_what_is_allowed(
    limits: Limits, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        limits.check(Request(**{**SETTINGS, **changes}))
