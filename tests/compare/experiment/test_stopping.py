"""A stop inside a step, or inside a decoding."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import torch

from compare.events import Stopped
from compare.experiment.decoding import tiled_if_large
from compare.experiment.stopping import EVERY
from compare.experiment.worker import MACHINE, run
from tests.helpers.run import finished
from tests.helpers.traces import is_patched, traces_of_a_patch

PLACES: dict[str, Callable] = {
    "down": lambda pipe: pipe.unet.down_blocks[1].resnets[0],
    "attention": lambda pipe: pipe.unet.down_blocks[1].attentions[0].transformer_blocks[0].attn1,
    "middle": lambda pipe: pipe.unet.mid_block.resnets[0],
    "up": lambda pipe: pipe.unet.up_blocks[0].resnets[0],
    "decoding": lambda pipe: pipe.vae.decoder.up_blocks[0].resnets[0],
}


@pytest.mark.parametrize("method", ["baseline", "tome", "todo", "todo-rotating"])
@pytest.mark.parametrize("place", PLACES)
def test_a_stop_holds_before_the_next_part_and_the_next_run_works(
    loaded, request_for, place: str, method: str
) -> None:
    request = request_for(methods=(method,))
    right = finished(run(loaded, request)).results[0].image.tobytes()
    stop, after = threading.Event(), []
    pipe = loaded.pipe
    last = pipe.vae.decoder.up_blocks[-1] if place == "decoding" else pipe.unet.up_blocks[-1]

    def ask_for_the_stop(*_: object) -> None:
        stop.set()
        time.sleep(1.1 * EVERY)
        after.clear()

    slow = PLACES[place](pipe).register_forward_hook(ask_for_the_stop)
    with slow, last.resnets[-1].register_forward_hook(lambda *_: after.append("a part")):
        *_, event = run(loaded, request, stop)
    assert isinstance(event, Stopped)
    assert event.comparison is None
    assert after == []
    assert traces_of_a_patch(loaded.pipe) == []
    assert finished(run(loaded, request)).results[0].image.tobytes() == right


def test_a_decoding_that_ends_early_leaves_the_precision_of_the_vae(loaded, request_for) -> None:
    vae = loaded.pipe.vae
    vae.to(torch.float16)
    try:
        with tiled_if_large(vae, request_for()):
            vae.to(torch.float32)  # as the pipeline does for a VAE that overflows in float16
        assert vae.dtype == torch.float16
    finally:
        vae.to(torch.float32)


def test_a_part_that_takes_long_does_not_keep_the_reader_waiting(loaded, request_for) -> None:
    stop, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        if is_patched(loaded.pipe.unet):
            stop.set()
            assert go_on.wait(60)

    request = request_for(methods=("baseline", "todo"))
    with loaded.pipe.unet.mid_block.register_forward_pre_hook(hold):
        *_, event = run(loaded, request, stop)
    assert [result.method for result in event.comparison.results] == ["baseline"]
    assert len(MACHINE) == 1
    go_on.set()
    with MACHINE.place() as place:
        place.wait(lambda seconds: None)
    assert traces_of_a_patch(loaded.pipe) == []
