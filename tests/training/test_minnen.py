"""The proxy codec of the NPP paper: its parts against their formulas, the whole, and its training."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training.toy import exported, of, stopped, trained, validations

from kcompress.codecs import CODECS
from kcompress.dataset import DataSet
from kcompress.errors import WeightsError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.inference.batches import tensor
from kcompress.proxies.choice import load_proxy
from kcompress.proxies.minnen import Entropy, Minnen, quantiser_step
from kcompress.proxies.minnen.gdn import GDN, bounded
from kcompress.proxies.minnen.klt import stages
from kcompress.proxies.minnen.priors import FactorisedPrior, MaskedConv, gaussian_bits, quantise
from kcompress.training.events import Validation
from kcompress.training.tasks.proxies.accuracy import METRICS, decibels
from kcompress.training.tasks.proxies.coded_patches import PLACE, Batch
from kcompress.training.tasks.proxies.minnen import MinnenLoss, MinnenTask, distortion_weight
from kcompress.training.tasks.proxies.recipe import RANGES, MinnenRecipe
from kcompress.workers import drained

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = MinnenRecipe(
    "jpeg", *RANGES["jpeg"], width=6, latent=12, steps=16, batch=3, versions=2, patches=12, side=64, warmup=3,
    validate_every=8, averaging=0.8, split=0.6, validation_pictures=1,
)  # fmt: skip


@pytest.fixture
def proxy() -> Minnen:
    torch.manual_seed(0)
    return alive(Minnen(12, 24)).eval()


def alive(proxy: Minnen) -> Minnen:
    """With an entropy model that says something, as after a training."""
    for network in (proxy.entropy.hyper_synthesis, proxy.entropy.parameters_of):
        torch.nn.init.normal_(network[-1].weight, std=0.05)
    return proxy


def picture(image: Image, size: int = 128) -> torch.Tensor:
    return tensor([np.ascontiguousarray(image.pixels[100 : 100 + size, 100 : 100 + size])])


@pytest.mark.parametrize("inverse", [False, True])
def test_gdn_is_its_formula(inverse: bool) -> None:
    torch.manual_seed(0)
    gdn = GDN(3, inverse=inverse)
    with torch.no_grad():
        gdn.root_beta.uniform_(0.5, 2)
        gdn.root_gamma.uniform_(0, 1)
    values = torch.randn(2, 3, 4, 5)
    found = gdn(values)
    beta, gamma = gdn.beta.tolist(), gdn.gamma.tolist()
    for channel in range(3):
        x = values[1, :, 2, 3].tolist()
        root = math.sqrt(beta[channel] + sum(gamma[channel][other] * x[other] ** 2 for other in range(3)))
        expected = x[channel] * root if inverse else x[channel] / root
        assert found[1, channel, 2, 3].item() == pytest.approx(expected, rel=1e-5)


def test_gdn_starts_as_nearly_nothing_and_stays_positive() -> None:
    values = torch.randn(1, 4, 8, 8)
    gdn = GDN(4)
    assert torch.allclose(gdn(values), values, rtol=0.1)
    with torch.no_grad():
        gdn.root_beta.fill_(-1)
        gdn.root_gamma.fill_(-1)
    assert (gdn.beta > 0).all() and (gdn.gamma > 0).all()
    changed = gdn(values)
    assert changed.isfinite().all()
    changed.abs().sum().backward()
    assert gdn.root_beta.grad is not None and gdn.root_beta.grad.isfinite().all()


def test_gdn_is_exact_under_bfloat16() -> None:
    gdn, values = GDN(4), torch.randn(1, 4, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gdn(values), GDN(4)(values))


def test_a_bound_lets_values_come_back() -> None:
    values = torch.tensor([0.5, 0.5, 2.0], requires_grad=True)
    held = bounded(values, 1)
    assert held.tolist() == [1, 1, 2]
    held.backward(torch.tensor([1.0, -1.0, 1.0]))
    assert values.grad is not None and values.grad.tolist() == [0, -1, 1]  # a step is against the gradient


@pytest.mark.parametrize("scale", [0.11, 0.5, 3.0, 40.0])
@pytest.mark.parametrize("mean", [0.0, 0.3, -7.5])
def test_probabilities_sum_to_one(scale: float, mean: float) -> None:
    values = torch.arange(-400, 401).float() - mean
    bits = gaussian_bits(values, torch.full_like(values, scale))
    assert (bits >= 0).all()
    assert torch.exp2(-bits.double()).sum().item() == pytest.approx(1, abs=1e-4)


def test_gaussian_bits_in_the_middle_and_far_out() -> None:
    erf = math.erf(0.5 / 2 / math.sqrt(2))
    assert gaussian_bits(torch.tensor([0.0]), torch.tensor([2.0])).item() == pytest.approx(-math.log2(erf), rel=1e-4)
    values = torch.tensor([0.0, 1e-4, 50.0, -3000.0], requires_grad=True)
    scale = torch.tensor([0.0, 1e-3, 0.2, 1.0], requires_grad=True)
    bits = gaussian_bits(values, scale)
    bits.sum().backward()
    assert bits.isfinite().all() and bits[3] > bits[2] > 100
    assert values.grad is not None and values.grad.isfinite().all() and values.grad[2] > 0 > values.grad[3]
    assert scale.grad is not None and scale.grad.isfinite().all() and (scale.grad[2:] < 0).all()


def test_a_factorised_prior_is_a_distribution() -> None:
    torch.manual_seed(0)
    prior = FactorisedPrior(3)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    values = torch.linspace(-2000, 2000, 4001).expand(1, 3, 1, -1)
    cumulative = prior._logits(values).sigmoid()[0, :, 0]
    assert (cumulative.diff(dim=-1) >= 0).all()
    assert cumulative[:, 0].max() < 1e-3 and cumulative[:, -1].min() > 1 - 1e-3
    bits = prior(values)[0, :, 0]
    assert bits.isfinite().all() and (bits >= 0).all()
    assert torch.exp2(-bits.double()).sum(-1).tolist() == pytest.approx([1, 1, 1], abs=2e-3)


def test_a_factorised_prior_starts_wide() -> None:
    torch.manual_seed(0)
    values = torch.arange(-30, 31).float().expand(1, 2, 1, -1)
    wide = FactorisedPrior(2, 10)
    assert 3 < wide(torch.zeros(1, 2, 1, 1)).mean() < 7 and wide(values).max() < 12
    assert (wide(values[..., 28:33], 200.0) < 0.1).all()  # all of it is in one interval


def test_a_masked_convolution_sees_no_future() -> None:
    torch.manual_seed(0)
    context = MaskedConv(2, 3)
    values = torch.randn(1, 2, 9, 9)
    changed = values.clone()
    changed[:, :, 4, 4] += 1
    differs = (context(values) != context(changed))[0].any(0)
    assert not differs.flatten()[: 4 * 9 + 5].any()  # all before it, and itself
    assert differs[4, 5:7].all() and differs[5:7, 2:7].all() and differs.sum() == 12


def test_what_is_expected_of_a_latent_follows_from_those_before_it(proxy: Minnen) -> None:
    chosen, told = torch.randn(1, 24, 8, 8), torch.randn(1, 24, 8, 8)
    changed = chosen.clone()
    changed[:, :, 3, 4] += 1
    one, other = (proxy.entropy.gaussians(each, told, torch.tensor([0.5])) for each in (chosen, changed))
    for before, after in zip(one, other, strict=True):
        differs = (before != after)[0].any(0).flatten()
        assert not differs[: 3 * 8 + 5].any() and differs[3 * 8 + 5]


def test_quantisers() -> None:
    values = torch.linspace(-3, 3, 601, requires_grad=True)
    rounded = quantise(values, noisy=False)
    assert torch.equal(rounded, values.round())
    rounded.sum().backward()
    assert values.grad is not None and torch.equal(values.grad, torch.ones(601))
    error = (quantise(values, noisy=True) - values).detach()
    assert error.abs().max() <= 0.5 and error.std().item() == pytest.approx(12**-0.5, rel=0.1)


def test_the_start_is_an_orthonormal_transform() -> None:
    found = stages((8, 20, 30))
    assert [len(stage.basis) for stage in found] == [8, 20, 30]
    for stage in found:
        basis = stage.basis.flatten(1)
        assert torch.allclose(basis @ basis.T, torch.eye(len(basis)), atol=1e-5)
        assert (stage.deviations.diff() <= 0).all() and (stage.deviations > 0).all()
    assert len(stages((99,))[0].basis) == 12  # all that 2x2 pixels of three colours have
    assert (found[0].basis[0] > 0).all() and found[0].basis[0].std() < 0.05  # brightness comes first


@pytest.mark.parametrize("size", [(64, 128), (61, 97), (8, 8), (1, 1), (5, 70)])
def test_any_size(proxy: Minnen, size: tuple[int, int]) -> None:
    for network in (proxy, proxy.train()):
        decoded, bpp = network(torch.rand(2, 3, *size), torch.tensor([0.2, 0.7]))
        assert decoded.shape == (2, 3, *size) and bpp.shape == (2,)
        assert decoded.dtype == bpp.dtype == torch.float32
        assert decoded.isfinite().all() and (bpp > 0).all()


def test_padding_is_by_the_last_pixels_and_bits_are_those_of_the_true_ones(proxy: Minnen, lake: Image) -> None:
    seen = picture(lake, 100)
    padded = torch.nn.functional.pad(seen, (0, 28, 0, 28), mode="replicate")
    (decoded, bpp), (whole, of_whole) = (proxy(each, torch.tensor([0.5])) for each in (seen, padded))
    assert torch.equal(decoded, whole[..., :100, :100])
    assert (bpp * 100**2).item() == pytest.approx((of_whole * 128**2).item(), rel=1e-5)


@pytest.mark.parametrize("seen", [torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64), torch.rand(1, 3, 64, 64)])
@pytest.mark.parametrize("coarseness", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_finite(proxy: Minnen, seen: torch.Tensor, coarseness: float, training: bool) -> None:
    seen = seen.clone().requires_grad_()
    decoded, bpp = proxy.train(training)(seen, torch.tensor([coarseness]))
    (decoded.square().sum() + bpp.log().sum()).backward()
    assert seen.grad is not None and seen.grad.isfinite().all()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in proxy.parameters())


def test_gradients_reach_the_picture_though_latents_are_rounded(proxy: Minnen, lake: Image) -> None:
    for part in (0, 1):
        seen = picture(lake).requires_grad_()
        proxy(seen, torch.tensor([0.3]))[part].sum().backward()
        assert seen.grad is not None and (seen.grad != 0).float().mean() > 0.9


def test_it_starts_as_a_codec(lake: Image) -> None:
    """Coarser settings lose more and cost less."""
    torch.manual_seed(0)
    seen = picture(lake).repeat(4, 1, 1, 1)
    with torch.no_grad():
        decoded, bpp = Minnen().eval()(seen, torch.tensor([0.3, 0.5, 0.7, 0.9]))
    quality = decibels(decoded, seen)
    assert (quality[:-1] > quality[1:]).all() and quality[0] > 25 and quality[3] > 18
    assert (bpp[:-1] > bpp[1:]).all() and bpp[0] > 3 * bpp[3]


def test_every_quality_has_its_own_gains(proxy: Minnen, lake: Image) -> None:
    seen, coarseness = picture(lake), torch.tensor([0.2, 0.6])
    together = proxy(seen.repeat(2, 1, 1, 1), coarseness)
    for number in range(2):
        alone = proxy(seen, coarseness[number : number + 1])
        assert torch.allclose(alone[0][0], together[0][number], atol=1e-4)
        assert alone[1].item() == pytest.approx(together[1][number].item(), rel=1e-3)


def test_noise_stands_for_rounding_in_training_only(proxy: Minnen, lake: Image) -> None:
    seen, coarseness = picture(lake), torch.tensor([0.5])
    assert torch.equal(proxy(seen, coarseness)[1], proxy(seen, coarseness)[1])
    proxy.train()
    assert not torch.equal(proxy(seen, coarseness)[1], proxy(seen, coarseness)[1])
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(proxy(seen, coarseness))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


def test_bfloat16_is_close(proxy: Minnen, lake: Image) -> None:
    seen, coarseness = picture(lake), torch.tensor([0.6])
    decoded, bpp = proxy(seen, coarseness)
    with torch.autocast("cpu", torch.bfloat16):
        other, other_bpp = proxy(seen, coarseness)
    assert other.dtype == other_bpp.dtype == torch.float32
    assert (decoded - other).abs().mean() < 0.01 and other_bpp.item() == pytest.approx(bpp.item(), rel=0.1)


def test_a_seed_decides_about_the_weights() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(Minnen(6, 12).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_more_latents_than_the_start_knows() -> None:
    torch.manual_seed(0)
    decoded, bpp = Minnen(3, 40).eval()(torch.rand(1, 3, 64, 64), torch.tensor([0.4]))
    assert decoded.isfinite().all() and bpp > 0


def test_hyper_latents_tell_of_latents() -> None:
    torch.manual_seed(0)
    entropy = Entropy(4, 8, torch.ones(8)).eval()
    torch.nn.init.normal_(entropy.hyper_synthesis[-1].weight, std=0.5)
    latents = torch.randn(1, 8, 8, 8)
    chosen, bits = entropy(latents, torch.full((1, 8, 1, 1), 100.0), torch.tensor([0.1]))
    assert (chosen - 100 * latents).abs().max() <= 0.501
    assert bits.shape == (1,) and 8 * 64 * 5 < bits < 8 * 64 * 30


def test_steps_are_hevcs() -> None:
    assert quantiser_step(torch.tensor([4 / 51, 10 / 51, 34 / 51])).tolist() == pytest.approx([1, 2, 32], rel=1e-5)
    weights = distortion_weight(torch.tensor([4 / 51, 10 / 51]), 10.0)
    assert weights.tolist() == pytest.approx([10, 2.5], rel=1e-5)


def test_costs_are_relative_to_the_real_codec() -> None:
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, 64, 64)
    decoded = pictures + 0.05 * torch.randn_like(pictures)
    seen = Batch(pictures, decoded, torch.tensor([0.5, 1.5]), torch.tensor([0.5, 0.5]), 2)

    class Perfect(torch.nn.Module):
        def forward(self, *_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return seen.decoded, self.bits * seen.bpp

        bits = 1.0

    costs = MinnenLoss(Perfect(), 10.0, 1.0)  # type: ignore[arg-type]
    assert (
        costs(seen._replace(mimics=False))["loss"].tolist() == pytest.approx([0, 0], abs=1e-5) and costs.proxy.training
    )
    distortion = 10 / quantiser_step(torch.tensor(0.5)) ** 2 * 255**2 * 0.05**2
    share = [bpp / (bpp + distortion.item()) for bpp in (0.5, 1.5)]
    assert costs(seen)["loss"].exp().tolist() == pytest.approx(share, abs=0.02) and not costs.proxy.training
    costs.proxy.bits = 1.2
    found = costs(seen)
    assert found["loss"].tolist() == pytest.approx(
        [math.log((1.2 * bpp) / (bpp + distortion.item()) * 1.2) for bpp in (0.5, 1.5)], abs=0.03
    )
    assert torch.equal(found["loss"], found["rate_distortion"] + found["rate_match"])
    assert found["rate_match"].tolist() == pytest.approx([math.log(1.2)] * 2, abs=0.03)


def test_the_cost_falls(photos: DataSet, tmp_path: Path) -> None:
    recipe = replace(TINY, steps=60, validate_every=20, mimic_from=0.0)
    found = validations(MinnenTask(photos, recipe), tmp_path)
    assert found[2].loss < found[0].loss
    assert found[2].metrics.keys() == METRICS.keys()
    assert (found[2].metrics["bpp_error_percent"] or 999) < (found[0].metrics["bpp_error_percent"] or 0)


def test_mimicry_begins_at_its_step(photos: DataSet, tmp_path: Path) -> None:
    task = MinnenTask(photos, replace(TINY, mimic_from=0.5))
    data = drained(task.prepare(task.split(), tmp_path))
    batches = task.batches(data, 6)
    assert [next(batches).mimics for _ in range(4)] == [False, False, True, True]
    batches.close()


def test_going_on_equals_never_having_stopped(photos: DataSet, tmp_path: Path) -> None:
    task = MinnenTask(photos, TINY)
    whole = validations(task, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole" / PLACE, tmp_path / "parts" / PLACE)
    stopped(task, tmp_path / "parts", 11)
    torch.rand(5)  # noise does not depend on what else was drawn
    (rest,) = validations(task, tmp_path / "parts", resume=True)
    assert rest.metrics == whole[1].metrics
    one, two = (load_file(tmp_path / part / "step-000016.safetensors") for part in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_from_photographs_to_weights(photos: DataSet, tmp_path: Path) -> None:
    task = MinnenTask(photos, replace(TINY, exact_from=0.5))
    events = trained(task, tmp_path / "checkpoints")
    card = exported(task, tmp_path / "checkpoints", events[-1], tmp_path / "small", "crops of a lake")
    assert card["best_step"] in [state.step for state in of(Validation, events)] and card["codec"] == "jpeg"
    assert card["network"] == "minnen" and card["data"] == "4 photographs, crops of a lake"
    assert sorted(path.name for path in tmp_path.glob("small*")) == ["small.json", "small.safetensors"]
    assert json.loads((tmp_path / "small.json").read_text()) == card
    proxy = load_proxy(str(tmp_path / "small.safetensors"), "jpeg").module
    assert not proxy.training and not any(parameter.requires_grad for parameter in proxy.parameters())
    best = load_file(tmp_path / "checkpoints/best.safetensors")
    assert all(torch.equal(values, best[name]) for name, values in proxy.state_dict().items())
    with pytest.raises(WeightsError, match="are minnen weights; simulator was asked for"):
        weight_files.open_weights(tmp_path / "small.safetensors", "simulator")
    with pytest.raises(WeightsError, match=r"minnen-gif\.safetensors do not exist"):
        load_proxy("minnen-gif.safetensors", "jpeg")


@pytest.mark.parametrize(
    "name", sorted(path.stem.removeprefix("minnen-") for path in weight_files.folder().glob("minnen-*.safetensors"))
)
def test_those_that_ship_know_what_qualities_cost(name: str, lake: Image) -> None:
    seen, codec = picture(lake, 192), CODECS[name]
    scale = codec.quality
    lowest, highest = RANGES[name]
    coarseness = sorted(scale.coarseness(quality) for quality in (lowest, (lowest + highest) // 2, highest))
    decoded, bpp = load_proxy("minnen", name)(seen.repeat(3, 1, 1, 1), torch.tensor(coarseness))
    quality = decibels(decoded, seen)
    assert (quality[:-1] > quality[1:]).all() and quality[-1] > 15
    assert (bpp[:-1] > 1.3 * bpp[1:]).all()
