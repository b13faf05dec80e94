"""The shipped network behind the seam: engines agree, tiles are invisible, sizes are kept."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from kcompress.cli import options
from kcompress.codecs import CODECS
from kcompress.errors import UsageError
from kcompress.images import Image, read
from kcompress.inference import weights as weight_files
from kcompress.inference.engine import OnnxEngine, TorchEngine, cuda_devices
from kcompress.networks import NETWORKS
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.kuchen import Kuchen
from kcompress.networks.loading import load
from kcompress.networks.preprocessor import NetworkPreprocessor
from kcompress.pool import filter_named

SETTING = CODECS["jpeg"].setting()
SHIPPED = weight_files.folder() / "kuchen-jpeg.safetensors"
NETWORK = NETWORKS["kuchen"]


def preprocessor(engine, **options) -> NetworkPreprocessor:
    return NetworkPreprocessor(
        "kuchen", engine, network="kuchen", strength=1, halo=NETWORK.halo, multiple=NETWORK.multiple, **options
    )  # fmt: skip


@pytest.fixture(scope="module")
def onnx() -> OnnxEngine:
    return OnnxEngine(SHIPPED.with_suffix(".onnx"))


@pytest.fixture(params=["cpu", *(["cuda:0"] if cuda_devices() else [])])
def torch_engine(request) -> TorchEngine:
    weights = weight_files.open_weights(SHIPPED)
    module = Kuchen(**weights.arguments)
    module.load_state_dict(weights.tensors())
    return TorchEngine(module, request.param)


def test_onnx_runtime_equals_torch(onnx: OnnxEngine, torch_engine: TorchEngine, lake: Image) -> None:
    results = [preprocessor(engine)(lake, SETTING).pixels.astype(int) for engine in (onnx, torch_engine)]
    assert np.abs(results[0] - results[1]).max() <= 1
    assert not np.array_equal(results[0], lake.pixels)


def test_tiled_equals_whole(onnx: OnnxEngine, lake: Image) -> None:
    whole = preprocessor(onnx)(lake, SETTING).pixels
    for side in (64, 128, 200):
        tiled = preprocessor(onnx, whole_pixels=0, tile_side=side)(lake, SETTING).pixels
        assert np.array_equal(tiled, whole)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_any_size(height: int, width: int) -> None:
    image = Image(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    engine = OnnxEngine(SHIPPED.with_suffix(".onnx"))
    assert preprocessor(engine)(image, SETTING).pixels.shape == image.pixels.shape


def test_the_network_does_what_its_card_says() -> None:
    """It comes nearer to the filters that win for JPEG than the untouched picture is."""
    photo = read((Path(__file__).parents[1] / "golden" / "bpg" / "photo.png").read_bytes())
    target = filter_named("ar").apply(filter_named("blur:s=0.8").apply(photo.pixels)).astype(int)
    result = load("kuchen", device="cpu", codec="jpeg", strength=1)(photo, SETTING).pixels
    assert np.square(result - target).mean() < 0.5 * np.square(photo.pixels - target).mean()


def test_strength(lake: Image) -> None:
    none, half, whole = (
        load("kuchen", device="cpu", codec="jpeg", strength=s)(lake, SETTING).pixels.astype(int) for s in (0, 0.5, 1)
    )
    assert np.array_equal(none, lake.pixels)
    unclipped = (whole > 0) & (whole < 255)
    assert np.abs(half - (none + whole) / 2)[unclipped].max() <= 1
    usual = load("kuchen", device="cpu", codec="jpeg")
    assert usual.strength == 0.5 and np.array_equal(usual(lake, SETTING).pixels, half)
    assert not np.array_equal(half, whole)


@pytest.mark.parametrize(("recipe", "strength"), [("{}", 0.5), ('{"strength": 1}', 1), ('{"strength": 0.3}', 0.3)])
def test_weights_tell_how_much_of_the_change_is_made(tmp_path: Path, lake: Image, recipe: str, strength: float) -> None:
    weights = weight_files.open_weights(SHIPPED)
    save_file(weights.tensors(), path := tmp_path / "mine.safetensors", dict(weights.metadata) | {"recipe": recipe})
    usual, told, other = (load("kuchen", device="cpu", weights=path, strength=s) for s in (None, strength, 0.7))
    assert usual.strength == told.strength == strength
    results = [each(lake, SETTING).pixels for each in (usual, told, other)]
    assert np.array_equal(results[0], results[1]) and not np.array_equal(results[0], results[2])


def test_help_tells_the_strengths_of_the_weights_that_ship() -> None:
    (help,) = (found.help for found in get_args(options.Strength)[1:])
    assert help.endswith("kuchen 0.5, feedback 0.8, others 1]")
    found = {weights.name: TrainingDomain.from_weights(weights).strength
             for weights in weight_files.shipped() if weights.metadata["network"] in NETWORKS}  # fmt: skip
    expected = {"kuchen": 0.5, "feedback": 0.8}
    assert len(found) > 8 and found == {name: expected.get(name.partition("-")[0], 1) for name in found}


def test_grey_and_alpha(lake: Image) -> None:
    grey = Image(np.repeat(lake.pixels[:64, :64, :1], 3, axis=2), lake.pixels[:64, :64, 2], grey=True)
    result = load("kuchen", device="cpu", codec="jpeg")(grey, SETTING)
    assert result.alpha is grey.alpha
    assert np.array_equal(result.pixels[:, :, 0], result.pixels[:, :, 1])


def test_what_load_refuses() -> None:
    with pytest.raises(UsageError, match="Allowed: none, shrink, kuchen, blend, rdo"):
        load("nonsense")
    with pytest.raises(UsageError, match=r"--strength 1\.5 is out of range\. Allowed: 0\.\.1\."):
        load("shrink", strength=1.5)
    with pytest.raises(UsageError, match="has none"):
        load("shrink", weights=SHIPPED)
    assert load("none") is None


@pytest.mark.parametrize("quality", [45, 85])
def test_threads_change_nothing_but_the_time(lake: Image, quality: int) -> None:
    one, *others = (load("rdo", device="cpu", codec="jpeg", threads=threads) for threads in (1, 2, 3))
    setting = CODECS["jpeg"].setting(quality)
    expected = one(lake, setting).pixels
    assert not np.array_equal(expected, lake.pixels)
    for other in others:
        assert np.array_equal(other(lake, setting).pixels, expected)


def test_as_many_bands_as_threads_go_through_a_network_that_is_banded(lake: Image) -> None:
    seen = []

    def engine(batch, *more):
        seen.append(batch.shape)
        return batch

    bands = NetworkPreprocessor("rdo", engine, network="rdo", strength=1, halo=64, multiple=16, threads=3)
    assert np.array_equal(bands(lake, SETTING).pixels, lake.pixels)
    assert len(seen) == 3 and {shape[3] for shape in seen} == {-(-lake.width // 16) * 16}
