"""The preprocessor for machines, section 3.2 of its paper."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_weights import write_npp
from torch import nn

from kcompress.codecs import CODECS
from kcompress.errors import UsageError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.networks import NETWORKS
from kcompress.networks.loading import load, serving, task_weights
from kcompress.networks.npp import Npp


@pytest.fixture
def network() -> Npp:
    torch.manual_seed(0)
    module = Npp(4)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.double().eval()


def test_starts_as_the_identity() -> None:
    picture = torch.rand(1, 3, 24, 40)
    assert torch.equal(Npp(4)(picture, torch.rand(1, 1)), picture)


def test_adding_adaptive_layers_changes_nothing_at_first() -> None:
    """Stage three of section 4.1 goes on where stage two ended."""
    torch.manual_seed(0)
    module = Npp(4)
    for name, parameter in module.named_parameters():
        if not name.startswith("adaptation"):
            nn.init.normal_(parameter, std=0.2)
    picture = torch.rand(2, 3, 16, 16)
    assert torch.equal(module(picture, torch.tensor([[0.1], [0.9]])), module(picture, None))


def test_scales_multiply_channels(network: Npp) -> None:
    """f' = f * s: a scale of 0 silences what follows it."""
    picture = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        for layer in (network.adaptation.leave, network.pixels_out, network.meaning_out):
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(network.adaptation.leave.weight)
    assert torch.equal(network(picture, torch.ones(1, 1, dtype=torch.float64)), picture)


def test_qualities_differ_within_a_batch(network: Npp) -> None:
    picture = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    told = torch.tensor([[0.2], [0.8]], dtype=torch.float64)
    both = network(picture.repeat(2, 1, 1, 1), told)
    assert torch.allclose(both[:1], network(picture, told[:1])) and not torch.allclose(both[0], both[1])


def test_two_branches_are_added_up(network: Npp) -> None:
    """One of 1x1 convolutions, one that sees neighbours."""
    shallow = Npp(4).double()
    shallow.load_state_dict(network.state_dict())
    nn.init.zeros_(shallow.meaning_out.weight)
    nn.init.zeros_(shallow.meaning_out.bias)
    deep = Npp(4).double()
    deep.load_state_dict(network.state_dict())
    nn.init.zeros_(deep.pixels_out.weight)
    nn.init.zeros_(deep.pixels_out.bias)
    picture = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    told = torch.full((1, 1), 0.5, dtype=torch.float64)
    whole, one, other = (each(picture, told) - picture for each in (network, shallow, deep))
    assert torch.allclose(whole, one + other)
    changed = picture.clone()
    changed[..., 8, 8] += 0.1
    assert ((shallow(changed, told) - shallow(picture, told)).abs().sum(1) > 1e-12).sum() == 1
    assert ((deep(changed, told) - deep(picture, told)).abs().sum(1) > 1e-12).sum() > 1


def test_the_size_of_the_paper() -> None:
    assert sum(parameter.numel() for parameter in Npp(70).parameters()) == pytest.approx(9.42e6, rel=0.02)


def test_halo_covers_the_receptive_field(network: Npp) -> None:
    reach = 0
    for phase in range(8):
        picture = torch.rand(1, 3, 128, 128, dtype=torch.float64, requires_grad=True)
        place = 64 + phase
        changed = network(picture, torch.full((1, 1), 0.5, dtype=torch.float64))
        (gradient,) = torch.autograd.grad(changed[0, :, place, place].sum(), picture)
        rows = gradient[0].abs().sum(dim=(0, 2)).nonzero().flatten()
        reach = max(reach, place - int(rows.min()), int(rows.max()) - place)
    assert NETWORKS["npp"].halo - NETWORKS["npp"].multiple < reach <= NETWORKS["npp"].halo


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random ones for BPG 28..41, without a graph."""
    return write_npp(tmp_path_factory.mktemp("npp") / "tiny.safetensors", width=4)


@pytest.mark.parametrize(
    ("codec", "quality", "note"),
    [("bpg", 34, None), ("bpg", 28, None), ("bpg", 20, "was trained for bpg 28..41; bpg 20 is finer"),
     ("bpg", 45, "bpg 45 is coarser"), ("hevc", 34, "was trained for bpg 28..41, not for hevc"),
     ("jpeg", 30, "not for jpeg"), ("jpeg", 90, "jpeg 90 is finer"), ("webp", 5, "webp 5 is coarser")],
)  # fmt: skip
def test_it_serves_every_codec_and_says_what_it_was_trained_for(weights, lake, codec, quality, note) -> None:
    preprocessor = load("npp", device="cpu", weights=weights, codec=codec)
    assert preprocessor is not None and preprocessor.conditioned
    image = Image(np.ascontiguousarray(lake.pixels[:40, :56]))
    result = preprocessor(image, CODECS[codec].setting(quality))
    assert not np.array_equal(result.pixels, image.pixels)
    assert result.notes == () if note is None else note in result.notes[0]


def test_beyond_what_it_knows_it_is_told_the_nearest(weights, lake) -> None:
    preprocessor = load("npp", device="cpu", weights=weights, codec="bpg")
    assert preprocessor is not None
    image = Image(np.ascontiguousarray(lake.pixels[:40, :56]))
    made = [preprocessor(image, CODECS["bpg"].setting(quality)).pixels for quality in (10, 28, 34, 41, 51)]
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[3], made[4])
    assert not np.array_equal(made[1], made[2]) and not np.array_equal(made[2], made[3])


def test_its_weights_go_by_task() -> None:
    with pytest.raises(UsageError, match="--task-weights says which"):
        load("npp", codec="bpg")
    with pytest.raises(UsageError, match="--task-weights juggling is not known"):
        task_weights("juggling")
    assert task_weights("own/npp.safetensors") == Path("own/npp.safetensors")


def test_eyes_are_not_served() -> None:
    """``--network auto`` judges for eyes."""
    assert all("npp" not in serving(codec) for codec in CODECS)


@pytest.mark.slow
def test_the_graph_says_what_torch_says(tmp_path, lake) -> None:
    torch.manual_seed(1)
    module = Npp(4)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    recipe = {"lowest": 28, "highest": 41, "coarseness": [28 / 51, 41 / 51]}
    metadata = {"network": "npp", "arguments": '{"width": 4}', "codec": "bpg", "recipe": json.dumps(recipe)}
    weight_files.write(tmp_path / "tiny", module, metadata, {}, 8, (torch.zeros(1, 1),))
    image = Image(np.ascontiguousarray(lake.pixels[:45, :61]))
    made = []
    for _ in range(2):
        preprocessor = load("npp", device="cpu", weights=tmp_path / "tiny.safetensors", codec="bpg")
        assert preprocessor is not None
        made.append(preprocessor(image, CODECS["bpg"].setting(34)).pixels)
        (tmp_path / "tiny.onnx").unlink(missing_ok=True)
    assert np.abs(made[0].astype(int) - made[1]).max() <= 1
