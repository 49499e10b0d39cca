from __future__ import annotations

import pytest

from compare.experiment import decoding as tiles
from compare.experiment.decoding import is_tiled
from compare.experiment.worker import prepare, run
from compare.script import script_for

SIDE = 96  # larger than the tiles of the tiny VAE, which are its training size, 64


@pytest.fixture
def decoded_in_tiles(loaded, monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of the latents that the VAE decodes in tiles."""
    shapes: list[tuple[int, ...]] = []
    tiled_decode = loaded.pipe.vae.tiled_decode

    def watched(latents: object, *args: object, **kwargs: object) -> object:
        shapes.append(tuple(latents.shape))
        return tiled_decode(latents, *args, **kwargs)

    monkeypatch.setattr(loaded.pipe.vae, "tiled_decode", watched)
    return shapes


def test_every_picture_of_a_large_request_is_decoded_in_tiles(
    loaded, request_for, decoded_in_tiles, monkeypatch
) -> None:
    asked = request_for(width=SIDE, height=SIDE, steps=1, methods=("baseline", "todo"))
    whole = list(run(loaded, asked))[-1].comparison
    assert decoded_in_tiles == []
    monkeypatch.setattr(tiles, "TILED_ABOVE", SIDE * SIDE - 1)
    tiled = list(run(loaded, asked))[-1].comparison
    assert decoded_in_tiles == [(1, 4, SIDE // 8, SIDE // 8)] * 3  # the first is decoded to warm up
    for method in asked.methods:
        assert tiled.result(method).image.size == (SIDE, SIDE)
        assert tiled.result(method).image.tobytes() != whole.result(method).image.tobytes()
    assert any("decoded in overlapping tiles" in note for note in tiled.notes)
    assert not loaded.pipe.vae.use_tiling


def test_the_vae_is_left_as_it_was_when_a_run_fails(loaded, request_for, monkeypatch) -> None:
    monkeypatch.setattr(tiles, "TILED_ABOVE", 0)
    monkeypatch.setattr(loaded.pipe.unet, "forward", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(run(loaded, request_for()))
    assert not loaded.pipe.vae.use_tiling


def test_the_size_alone_decides(loaded, request_for) -> None:
    assert not is_tiled(request_for(width=1536, height=1536))
    assert not is_tiled(request_for(width=2048, height=1024))
    assert is_tiled(request_for(width=2048, height=2048))
    small, large = request_for(width=1024, height=1024), request_for(width=2048, height=2048)
    assert "enable_tiling" in script_for(large, "todo", loaded.info)
    assert "enable_tiling" not in script_for(small, "todo", loaded.info)
    assert not any("tiles" in note for note in prepare(loaded, small).notes)
