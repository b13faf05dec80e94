"""Training of the RDO network: the cost is what it says, and falls."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kcompress.codecs import CODECS, decode
from kcompress.encoding import encode
from kcompress.images import Image
from kcompress.networks.preprocessor import Preprocessor
from kcompress.networks.rdo import Rdo
from kcompress.training import rdo
from kcompress.training.data import tensor
from kcompress.training.proxies import jpeg

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = replace(
    rdo.RdoRecipe(), width=16, depth=1, steps=30, batch=4, patches=12, side=96, warmup=3, learning_rate=3e-3,
    validate_every=15, averaging=0.8,
)  # fmt: skip


@pytest.fixture(scope="module")
def patches(lake: Image) -> list[rdo.Patch]:
    return rdo.bank([lake.pixels], TINY, 1)


def test_a_patch_knows_what_the_plain_codec_pays(lake: Image) -> None:
    pixels = np.ascontiguousarray(lake.pixels[160:320, 160:320])
    patch = rdo.measured(pixels, 60)
    codec = CODECS["jpeg"]
    sizes = {
        quality: len(encode(Image(pixels), codec, codec.setting(quality), None, "pillow").data) for quality in (52, 66)
    }
    decoded = {q: decode(encode(Image(pixels), codec, codec.setting(q), None, "pillow").data).pixels for q in (52, 66)}
    scores = {q: float(rdo.SCORES["ssimulacra2"](tensor([pixels]), tensor([decoded[q]]))) for q in (52, 66)}
    slope = np.log((sizes[66] - 330) / (sizes[52] - 330)) / (scores[66] - scores[52])  # less the headers
    assert patch.slopes["ssimulacra2"] == pytest.approx(np.clip(slope, 0.01, 0.08), rel=0.15)
    assert patch.plain["ssimulacra2"] == pytest.approx((scores[52] + scores[66]) / 2, abs=3)


def test_jobs_change_nothing(lake: Image, patches: list[rdo.Patch]) -> None:
    again = rdo.bank([lake.pixels], TINY, 2)
    assert [(patch.quality, patch.slopes, patch.plain) for patch in again] == [
        (patch.quality, patch.slopes, patch.plain) for patch in patches
    ]


def test_levels_are_packed_as_the_codec_has_them(lake: Image) -> None:
    image = tensor([np.ascontiguousarray(lake.pixels[:96, :112])])
    exact = jpeg.Jpeg(jpeg.standard_steps([70])).coefficients(image)
    found = rdo.unpacked(Rdo(16, 1).coefficients(image), (96, 112))
    steps = jpeg.standard_steps([70])[0]
    assert (found.luma - exact.luma * steps[0]).abs().max() < 4
    assert (found.chroma - exact.chroma * steps[1]).abs().max() < 4


def test_the_cost_of_deciding_nothing_is_nothing(patches: list[rdo.Patch]) -> None:
    module = rdo.Simulated(Rdo(16, 1), TINY.objective)
    torch.nn.init.constant_(module.network.leave.bias, -1e3)
    cost = module(next(rdo.batches(patches, TINY)))
    assert cost.shape == (4,) and cost.abs().max() < 0.05  # the network's DCT is not rounded as the encoder's


def test_the_cost_falls_and_decisions_get_gradients(patches: list[rdo.Patch], tmp_path: Path) -> None:
    found = list(rdo.train(TINY, patches, lambda preprocessor: {"size": 1.0}, tmp_path))
    assert [state.step for state in found] == [15, 30]
    assert found[1].cost < found[0].cost < 0
    state = load_file(found[-1].checkpoint)
    assert all(value.isfinite().all() for value in state.values())
    network = Rdo(16, 1)
    network.load_state_dict(state)
    assert network.leave.weight.abs().max() > 0


def test_validation_sees_the_averaged_network(patches: list[rdo.Patch], tmp_path: Path, lake: Image) -> None:
    pixels = Image(np.ascontiguousarray(lake.pixels[:96, :96]))
    setting = CODECS["jpeg"].setting(50)
    seen: list[np.ndarray] = []

    def judge(preprocessor: Preprocessor) -> dict[str, float | None]:
        seen.append(preprocessor(pixels, setting).pixels)
        return {}

    (state,) = rdo.train(replace(TINY, steps=3), patches, judge, tmp_path)
    network = Rdo(16, 1)
    network.load_state_dict(load_file(state.checkpoint))
    assert np.array_equal(rdo.preprocessor(network)(pixels, setting).pixels, seen[0])


def test_the_objective_matters(patches: list[rdo.Patch], tmp_path: Path) -> None:
    short = replace(TINY, steps=4)
    runs = [
        next(rdo.train(replace(short, objective=weights), patches, lambda _: {}, tmp_path / str(number)))
        for number, weights in enumerate(({"ssimulacra2": 1.0}, {"psnr-hvs-m": 1.0}))
    ]
    assert runs[0].cost != runs[1].cost
