from __future__ import annotations

import re

import pytest

from compare.errors import InvalidRequest


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sizes": ()}, "No sizes"),
        ({"sizes": ((64, 60),)}, "Height must be a multiple of 8"),
        ({"sizes": ((64, 64), (64, 64))}, "each can be given once"),
        ({"factors": (1,)}, "Factor must be a whole number from 2 to 8"),
        ({"factors": (2.5,)}, "not 2.5"),
        ({"methods": ("magic",)}, "'magic' is not one of them"),
        ({"methods": ("fewer-steps",)}, "'fewer-steps' is not one of them"),
        ({"rounds": 0}, "Rounds must be"),
        ({"steps": -1}, "Steps must be a whole number from 0"),
        ({"batch": "two"}, "Batch must be"),
    ],
)
def test_an_invalid_request_is_refused_in_a_sentence(bench_request, changes, says) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(says)):
        bench_request(**changes)
