"""Levels refined on CUDA: as good as on the CPU, the same every time, with and without a graph, without waiting."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from kcompress.codecs import CODECS
from kcompress.encoding import Session
from kcompress.images import Image, Pixels
from kcompress.networks.rdo import Rdo
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.search import descent, levels
from kcompress.search.levels import Levels
from kcompress.search.refinement import WEIGHTS, weights_for

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"),
]
JPEG = CODECS["jpeg"]
STEPS = 12


def refined(
    pixels: Pixels, device: str, *, graph: bool = True, weights: Mapping[str, float] = WEIGHTS
) -> Pixels:  # fmt: skip
    settings = [JPEG.setting(quality) for quality in (62, 70, 76)]
    found = Levels(pixels, pixels, settings, Rdo(), (0, 100), weights, device)
    assert list(found.descend((STEPS // 2, STEPS), graph=graph)) == list(range(1, len(found) + 1))
    return found.pixels(STEPS)


@pytest.fixture
def photo(lake: Image) -> Pixels:
    return np.ascontiguousarray(lake.pixels[100:292, 200:456])


def test_it_gains_as_much_as_the_cpu(photo: Pixels) -> None:
    image, session = Session.of(Image(photo), JPEG, JPEG.setting(70), "pillow")
    cost = RateDistortionCost(image, session, WEIGHTS)
    on_cpu, on_cuda = (
        cost(session.encode(image.with_pixels(refined(photo, device))).data).cost for device in ("cpu", "cuda:0")
    )
    assert on_cuda < -0.02
    assert on_cuda == pytest.approx(on_cpu, abs=0.01)


def test_every_run_is_the_same(photo: Pixels) -> None:
    np.testing.assert_array_equal(refined(photo, "cuda:0"), refined(photo, "cuda:0"))


def test_a_graph_does_what_its_steps_do(photo: Pixels) -> None:
    np.testing.assert_array_equal(refined(photo, "cuda:0"), refined(photo, "cuda:0", graph=False))


def test_batches_of_tiles(photo: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "TILE_SIDE", 64)
    monkeypatch.setattr(levels, "BATCH", 5)
    changed = refined(photo, "cuda:0", weights=weights_for(Image(photo[:64, :64])))
    assert changed.shape == photo.shape
    assert 0.1 < float((changed != photo).mean()) < 0.95


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_steps_never_wait_for_the_device(photo: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = descent.Descent.step

    def watched(self: descent.Descent, number: int) -> None:
        if number == 1:  # constants are copied in the first one
            steps(self, number)
        else:
            with waiting_is_an_error():
                steps(self, number)

    monkeypatch.setattr(descent.Descent, "step", watched)
    refined(photo, "cuda:0", graph=False)
