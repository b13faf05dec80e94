"""Training of the artefacts network: what the loss sees of the codec, a cost that falls, a training that goes on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from training.toy import exported, of, stopped, trained, validations

from kcompress.codecs import CODECS
from kcompress.dataset import DataSet
from kcompress.errors import InputError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.inference.batches import tensor
from kcompress.metrics.differentiable import SCORES
from kcompress.networks.artefacts import Artefacts
from kcompress.networks.loading import load
from kcompress.proxies.choice import FrozenProxy, load_proxy
from kcompress.proxies.simulator import Simulator
from kcompress.proxies.straight_through import encode_decode
from kcompress.training.events import Prepared, Validation
from kcompress.training.rated_patches import RATE, PatchDataset, of_pictures
from kcompress.training.tasks.artefacts.loss import ArtefactsLoss
from kcompress.training.tasks.artefacts.patches import coded
from kcompress.training.tasks.artefacts.recipe import THROUGH, ArtefactsRecipe
from kcompress.training.tasks.artefacts.task import ArtefactsTask, preprocessor
from kcompress.workers import drained

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = ArtefactsRecipe(
    "jpeg", 30, 92, 8.0, 1.0, width=8, depth=1, steps=8, batch=2, patches=8, side=96, warmup=2, learning_rate=3e-3,
    validate_every=4, averaging=0.8, split=0.6, validation_pictures=1, objective={"psnr": 0.5, "vif": 0.5},
)  # fmt: skip


@pytest.fixture(scope="module")
def simulator() -> FrozenProxy:
    torch.manual_seed(0)
    return FrozenProxy(Simulator(8, 1).eval().requires_grad_(False), "simulator for tests")


@pytest.fixture(scope="module")
def patches(photos: DataSet) -> PatchDataset:
    return drained(of_pictures(coded, photos, photos.names(), TINY, 1))


def task_of(photos: DataSet, simulator: FrozenProxy, recipe: ArtefactsRecipe = TINY) -> ArtefactsTask:
    return ArtefactsTask(photos, recipe, proxy=None if recipe.through == "exact" else simulator)


def loss_of(simulator: FrozenProxy, recipe: ArtefactsRecipe = TINY) -> ArtefactsLoss:
    torch.manual_seed(1)
    network = Artefacts(8, 1)
    torch.nn.init.normal_(network.context.leave.weight, std=0.1)
    return ArtefactsLoss(network, None if recipe.through == "exact" else simulator, recipe, 1)


def test_patches_are_measured_by_the_real_encoder(patches: PatchDataset) -> None:
    assert patches.pixels.shape == (12, 96, 96, 3) and patches.conditions.shape == (12, 1)
    assert len(set(patches.conditions[:, 0].tolist())) > 3
    assert patches.conditions.min() >= 0.0799 and patches.conditions.max() <= 0.7001
    for number in (0, 7):
        setting = CODECS["jpeg"].setting(CODECS["jpeg"].quality.nearest(float(patches.conditions[number, 0])))
        shown, bits = encode_decode(patches.pixels[number].numpy(), setting)
        score = SCORES["psnr"](tensor([patches.pixels[number].numpy()]))(tensor([shown]))
        assert patches.plain[RATE][number] == pytest.approx(bits, rel=1e-5)
        assert patches.plain["psnr"][number] == pytest.approx(float(score), abs=1e-3)


def test_jobs_change_nothing(photos: DataSet, patches: PatchDataset) -> None:
    other = drained(of_pictures(coded, photos, photos.names(), TINY, 2))
    assert all(torch.equal(values, patches.tensors()[name]) for name, values in other.tensors().items())


def test_the_loss_sees_what_it_is_told_to(patches: PatchDataset, simulator: FrozenProxy) -> None:
    """Values of the proxy, or of the encoder: those of JPEG's twin are the same picture."""
    batch = patches.batch(TINY, 0)
    found = {}
    for through in THROUGH:
        module = loss_of(simulator, replace(TINY, through=through))
        losses = module(batch)
        assert losses.keys() == {"loss", *ArtefactsTask.parts} and losses["loss"].shape == (2,)
        assert torch.equal(losses["loss"], losses["rate"] + losses["distortion"])
        losses["loss"].sum().backward()
        found[through] = (losses, module.network.context.leave.bias.grad)
    real, exact, simulated = (found[each][0]["distortion"] for each in ("real", "exact", "simulator"))
    assert torch.allclose(real, exact, atol=1e-3) and not torch.allclose(real, simulated, atol=0.05)
    assert torch.allclose(*(found[each][0]["rate"] for each in ("real", "exact")), atol=0.3)  # a model of the bits
    gradients = [found[each][1] for each in THROUGH]
    assert all(each is not None and each.abs().sum() > 0 for each in gradients)
    assert not torch.allclose(gradients[0], gradients[2], rtol=0.1)


def test_a_network_that_changes_nothing_costs_nothing(patches: PatchDataset, simulator: FrozenProxy) -> None:
    module = loss_of(simulator, replace(TINY, through="real"))
    module.network = torch.nn.Module()  # type: ignore[assignment]
    module.network.forward = lambda picture, coarseness: picture  # type: ignore[assignment,method-assign]
    losses = module(patches.batch(replace(TINY, batch=6), 0))
    # Mirrored patches cost nearly the same.
    assert losses["distortion"].abs().max() < 0.05 and losses["rate"].abs().max() < 0.1


def test_the_gradient_is_that_of_rate_less_price_times_gain(patches: PatchDataset) -> None:
    def codec(pictures: Tensor, coarseness: Tensor) -> tuple[Tensor, Tensor]:
        return 0.5 + 0.9 * (pictures - 0.5), pictures.square().flatten(1).mean(1)

    recipe = replace(TINY, objective={"psnr": 1.0})
    batch = patches.batch(recipe, 0)
    module = ArtefactsLoss(loss_of(None).network, codec, recipe, 1)
    module(batch)["loss"].sum().backward()
    found = module.network.context.leave.bias.grad.clone()
    module.zero_grad()
    shown, bits = codec(module.network(batch.images, batch.conditions).clamp(0, 1), batch.conditions[:, 0])
    score = SCORES["psnr"](batch.images)(shown)
    (bits / batch.rates - batch.slopes["psnr"] * score).sum().backward()
    assert torch.allclose(found, module.network.context.leave.bias.grad, rtol=1e-3, atol=1e-6)


def test_slopes_through_the_exact_twin_are_those_of_whole_steps(patches: PatchDataset) -> None:
    """By the height of luma's thresholds, of rate and of distortion."""
    recipe = replace(TINY, through="exact", batch=12)
    batch, slopes = patches.batch(recipe, 0), []
    for objective in ({}, recipe.objective):  # of the rate, of all
        module = ArtefactsLoss(Artefacts(8, 1), None, replace(recipe, objective=objective), 1)
        module(batch)["loss"].mean().backward()
        bias = module.network.context.leave.bias
        slopes.append(float(bias.grad[:256].sum()))
        ends = []
        for height in (-0.3, 0.3):
            with torch.no_grad():
                bias[:256] = height
                ends.append({name: float(values.mean()) for name, values in module(batch).items()})
    for slope, part in ((slopes[0], "rate"), (slopes[1] - slopes[0], "distortion")):
        assert slope == pytest.approx((ends[1][part] - ends[0][part]) / 0.6, rel=0.35) and abs(slope) > 0.02


def test_slopes_through_a_simulator_are_near_those_of_the_twin(patches: PatchDataset) -> None:
    """By the height of luma's thresholds; and what is added gains hardly more than through the twin."""
    batch, heights, added = patches.batch(replace(TINY, batch=12), 0), {}, {}
    for through, proxy in (("exact", None), ("simulator", load_proxy("simulator", "jpeg"))):
        slopes = []
        for objective in ({}, TINY.objective):  # of the rate, of all
            torch.manual_seed(0)
            module = ArtefactsLoss(Artefacts(8, 1), proxy, replace(TINY, objective=objective), 1)
            module(batch)["loss"].mean().backward()
            slopes.append(module.network.context.leave.bias.grad)
        heights[through] = [float(part[:256].sum()) for part in (slopes[0], slopes[1] - slopes[0])]
        added[through] = float(slopes[0][384:].abs().sum())
    assert all(0.5 < ours / exact < 2.2 for ours, exact in zip(heights["simulator"], heights["exact"], strict=True))
    assert added["simulator"] < 2 * added["exact"]


@pytest.mark.parametrize("through", THROUGH)
def test_the_cost_falls(photos: DataSet, simulator: FrozenProxy, tmp_path: Path, through: str) -> None:
    recipe = replace(TINY, through=through, steps=30, validate_every=30)
    task = task_of(photos, simulator, recipe)
    (found,) = validations(task, tmp_path)
    assert {"size_change_percent", "size_at_equal_psnr_percent", "bd_rate_vif_percent"} <= found.metrics.keys()
    data = drained(task.prepare(task.split(), tmp_path))
    after = Artefacts(8, 1)
    after.load_state_dict(load_file(found.checkpoint))
    costs = []
    for network in (Artefacts(8, 1), after):
        module = task.loss(network)
        with torch.no_grad():
            costs.append(np.mean([float(module(task.batch(data, n))["loss"].mean()) for n in range(6)]))
    assert np.isfinite(costs).all() and not torch.equal(after.context.leave.bias, Artefacts(8, 1).context.leave.bias)
    if through != "real":  # whose values a random simulator's gradients need not lower
        assert costs[1] < costs[0]


def test_going_on_after_a_kill_equals_never_having_stopped(
    photos: DataSet, simulator: FrozenProxy, tmp_path: Path
) -> None:
    task = task_of(photos, simulator)
    whole = validations(task, tmp_path / "whole")
    stopped(task, tmp_path / "parts", 6)
    rest = trained(task, tmp_path / "parts", resume=True)
    assert not of(Prepared, rest), "patches are encoded once"
    assert of(Validation, rest)[0].metrics == whole[1].metrics
    one, two = (load_file(tmp_path / part / "step-000008.safetensors") for part in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = task_of(photos, simulator, replace(TINY, seed=1))
    assert list(other.prepare(other.split(), tmp_path / "parts"))


def test_pictures_too_small_for_a_patch(photos: DataSet, simulator: FrozenProxy, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture of 128 pixels a side"):
        validations(task_of(photos, simulator, replace(TINY, side=128)), tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's exporter, about itself
def test_from_photographs_to_weights(photos: DataSet, simulator: FrozenProxy, tmp_path: Path, lake: Image) -> None:
    task = task_of(photos, simulator)
    finished = trained(task, tmp_path / "checkpoints")[-1]
    card = exported(task, tmp_path / "checkpoints", finished, tmp_path / "small", "crops of a lake")
    assert card["codec"] == "jpeg" and card["recipe"]["through"] == "simulator" and card["gflop_at_1920x1080"] > 0
    assert card["recipe"]["coarseness"] == pytest.approx([0.08, 0.7])
    weights = weight_files.open_weights(tmp_path / "small.safetensors", "artefacts")
    assert json.loads(weights.metadata["arguments"]) == {"width": 8, "depth": 1, "height": 8.0, "power": 1.0}
    network = Artefacts(8, 1)
    network.load_state_dict(load_file(tmp_path / "checkpoints/best.safetensors"))
    shipped = load("artefacts", device="cpu", weights=weights.path, codec="jpeg")
    assert shipped is not None
    image, setting = Image(np.ascontiguousarray(lake.pixels[:99, :133])), CODECS["jpeg"].setting(60)
    through_onnx, through_torch = (each(image, setting).pixels for each in (shipped, preprocessor(network, TINY)))
    assert (through_onnx == through_torch).mean() > 0.999 and not np.array_equal(through_onnx, image.pixels)
