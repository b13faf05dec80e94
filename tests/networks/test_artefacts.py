"""The artefacts network: a soft threshold that context bends."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kcompress.blockdct import shrunk, thresholds
from kcompress.codecs import CODECS
from kcompress.errors import UsageError, WeightsError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.networks import NETWORKS
from kcompress.networks.artefacts import Artefacts
from kcompress.networks.loading import load, serving


@pytest.fixture
def network() -> Artefacts:
    torch.manual_seed(0)
    module = Artefacts(8, 2)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.double().eval()


def write(path: Path, codec: str, qualities: tuple[int, int]) -> Path:
    torch.manual_seed(0)
    module = Artefacts(8, 2)
    nn.init.normal_(module.context.leave.weight, std=0.1)
    scale = CODECS[codec].quality
    recipe = {"lowest": qualities[0], "highest": qualities[1], "coarseness": sorted(map(scale.coarseness, qualities))}
    metadata = {"format": weight_files.FORMAT, "network": "artefacts", "codec": codec, "recipe": json.dumps(recipe),
                "arguments": json.dumps({"width": 8, "depth": 2, "height": 8.0, "power": 1.0})}  # fmt: skip
    save_file(module.state_dict(), path, metadata)
    return path


@pytest.mark.parametrize(("coarseness", "power"), [(0.3, 1.0), (0.6, 2.0)])
def test_untrained_it_is_a_soft_threshold(lake: Image, coarseness: float, power: float) -> None:
    grey = np.ascontiguousarray(lake.pixels[:48, :64, 1])
    picture = torch.from_numpy(grey).double().div(255).expand(1, 3, -1, -1)
    module = Artefacts(8, 2, height=7.0, power=power).double()
    found = module(picture, torch.tensor([[coarseness]], dtype=torch.float64))[0, 0]
    expected = shrunk(grey.astype(np.float32), thresholds(7 * coarseness**power))
    assert np.abs(255 * found.detach().numpy() - expected).max() < 0.01


def test_at_the_finest_next_to_nothing_changes(lake: Image) -> None:
    picture = torch.from_numpy(np.ascontiguousarray(lake.pixels[:48, :64])).permute(2, 0, 1)[None] / 255
    assert (Artefacts(8, 2)(picture, torch.zeros(1, 1)) - picture).abs().max() < 1.5 / 255


def test_settings_differ_within_a_batch(network: Artefacts) -> None:
    picture = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    told = torch.tensor([[0.2], [0.8]], dtype=torch.float64)
    both = network(picture.repeat(2, 1, 1, 1), told)
    assert torch.allclose(both[:1], network(picture, told[:1])) and not torch.allclose(both[0], both[1])


def test_each_block_reaches_one_mcu(network: Artefacts) -> None:
    picture = torch.rand(1, 3, 112, 112, dtype=torch.float64, requires_grad=True)
    network(picture, torch.full((1, 1), 0.5, dtype=torch.float64))[0, :, 56, 56].sum().backward()
    assert picture.grad is not None
    rows = torch.nonzero(picture.grad.abs().sum((0, 1, 3)))[:, 0]
    assert (int(rows.min()), int(rows.max())) == (48 - 2 * 16, 63 + 2 * 16)
    assert NETWORKS["artefacts"].halo_per_block == NETWORKS["artefacts"].multiple == 16


def test_the_setting_decides(lake: Image, tmp_path: Path) -> None:
    image = Image(np.ascontiguousarray(lake.pixels[:45, :70]))
    shipped = load("artefacts", device="cpu", weights=write(tmp_path / "w.safetensors", "webp", (20, 90)), codec="webp")
    assert shipped is not None and shipped.conditioned and "artefacts" not in serving("webp")
    codec = CODECS["webp"]
    fine, coarse, beyond = (shipped(image, codec.setting(quality)) for quality in (90, 30, 96))
    assert fine.pixels.shape == image.pixels.shape and not np.array_equal(fine.pixels, coarse.pixels)
    assert np.array_equal(fine.pixels, beyond.pixels) and not fine.notes
    assert beyond.notes == ("w was trained for qualities 20..90; 96 is beyond them",)


def test_weights_serve_their_codec_alone(tmp_path: Path, lake: Image) -> None:
    weights = write(tmp_path / "w.safetensors", "hevc", (14, 46))
    with pytest.raises(UsageError, match="are for hevc, not for jpeg"):
        load("artefacts", device="cpu", weights=weights, codec="jpeg")
    kin = load("artefacts", device="cpu", weights=weights, codec="bpg")
    assert kin is not None and not kin(Image(lake.pixels[:32, :32]), CODECS["bpg"].setting(30)).notes
    with pytest.raises((UsageError, WeightsError), match=r"artefacts"):
        load("artefacts", device="cpu", codec="avif")
