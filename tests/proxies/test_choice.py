"""Which proxy stands in for a codec."""

import json
from functools import partial

import pytest
import torch
from safetensors.torch import save_file

from kcompress.errors import UsageError, WeightsError
from kcompress.inference import weights as weight_files
from kcompress.inference.models import torch_module
from kcompress.proxies.choice import load_proxy
from kcompress.proxies.simulator import Simulator


def saved(folder, codec):
    torch.manual_seed(0)
    metadata = {"format": weight_files.FORMAT, "network": "simulator", "codec": codec,
                "arguments": json.dumps({"width": 8, "depth": 1})}  # fmt: skip
    path = folder / f"{codec}.safetensors"
    save_file(Simulator(8, 1).state_dict(), path, metadata)
    return path


def test_a_codecs_own_is_taken_as_it_is() -> None:
    pictures, coarseness = torch.rand(1, 3, 32, 32), torch.tensor([0.4])
    weights = weight_files.open_weights(weight_files.folder() / "simulator-webp.safetensors")
    found = load_proxy("simulator", "webp")(pictures, coarseness)
    expected = torch_module(weights, Simulator)(pictures, coarseness)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_its_contexts_are_still() -> None:
    pictures, coarseness = torch.rand(1, 3, 32, 32, requires_grad=True), torch.tensor([0.4])
    module = torch_module(weight_files.open_weights(weight_files.folder() / "simulator-webp.safetensors"), Simulator)
    found, still, free = (
        torch.autograd.grad(proxy(pictures, coarseness)[1].sum(), pictures)[0]
        for proxy in (load_proxy("simulator", "webp"), partial(module, still=True), module)
    )
    assert torch.equal(found, still) and not torch.equal(found, free)


def test_hevc_serves_bpg_three_steps_away(tmp_path) -> None:
    """BPG at QP 34 codes as HEVC does at 31."""
    path = saved(tmp_path, "hevc")
    pictures = torch.rand(1, 3, 32, 32)
    by_bpg = load_proxy(str(path), "bpg")(pictures, torch.tensor([34 / 51]))
    by_hevc = load_proxy(str(path), "hevc")(pictures, torch.tensor([31 / 51]))
    assert torch.allclose(by_bpg[0], by_hevc[0], atol=1e-5) and torch.allclose(by_bpg[1], by_hevc[1], rtol=1e-4)
    other = saved(tmp_path, "bpg")
    back = load_proxy(str(other), "hevc")(pictures, torch.tensor([31 / 51]))
    assert torch.allclose(back[0], by_hevc[0], atol=1e-5) is False
    own = load_proxy(str(other), "bpg")(pictures, torch.tensor([34 / 51]))
    assert torch.allclose(back[0], own[0], atol=1e-5)


def test_it_is_frozen_and_known_by_its_digest(tmp_path) -> None:
    path = saved(tmp_path, "jpeg")
    found = load_proxy(str(path), "jpeg")
    assert not any(parameter.requires_grad for parameter in found.module.parameters())
    assert found.about == f"jpeg {weight_files.open_weights(path).digest()}"


@pytest.mark.parametrize(
    ("text", "codec", "reason"),
    [("simulated", "jpeg", "--proxy simulated is not known"), ("rdo-jpeg.safetensors", "jpeg", "are rdo weights"),
     ("simulator-webp.safetensors", "jpeg", "is a proxy of webp, not of jpeg"), ("minnen", "webp", "none came along"),
     ("simulator-hevc.safetensors", "avif", "is a proxy of hevc, not of avif")],
)  # fmt: skip
def test_what_cannot_stand_in_is_refused(text, codec, reason) -> None:
    if text.endswith(".safetensors"):
        text = str(weight_files.folder() / text)
    with pytest.raises(UsageError, match=reason):
        load_proxy(text, codec)
    with pytest.raises(WeightsError):
        load_proxy("gone.safetensors", codec)
