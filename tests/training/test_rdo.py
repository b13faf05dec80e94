"""Training of the RDO network: the cost is what it says, and falls; it goes on where it stopped."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training.toy import exported, of, stopped, trained, validations

from kcompress.codecs import CODECS, decode
from kcompress.dataset import DataSet
from kcompress.encoding import effective, encode
from kcompress.errors import InputError, UsageError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.inference.batches import tensor
from kcompress.metrics.differentiable import SCORES
from kcompress.networks.condition import condition
from kcompress.networks.loading import load
from kcompress.networks.rdo import Rdo
from kcompress.proxies.curvature import diagonal_hessian
from kcompress.proxies.jpeg import DifferentiableJpeg, standard_quantiser_steps, unpack_levels
from kcompress.training.events import Prepared, Validation
from kcompress.training.rated_patches import RATE, Batch, PatchDataset
from kcompress.training.tasks.rdo.cuts import Cut
from kcompress.training.tasks.rdo.loss import RdoLoss, Sampled
from kcompress.training.tasks.rdo.patches import measured, of_cuts
from kcompress.training.tasks.rdo.recipe import RdoRecipe
from kcompress.training.tasks.rdo.task import RdoTask, preprocessor
from kcompress.workers import drained

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = RdoRecipe(
    width=16, depth=1, steps=16, batch=4, patches=12, side=96, warmup=3, learning_rate=3e-3, validate_every=8,
    averaging=0.8, split=0.6, validation_pictures=1, lowest=30, highest=92, tables="standard",
    objective={"ssimulacra2": 0.75, "vif": 0.25},
)  # fmt: skip


def finished(photos: DataSet, recipe: RdoRecipe, jobs: int = 1) -> PatchDataset:
    return drained(measured(photos, photos.names(), recipe, jobs))


@pytest.fixture(scope="module")
def bank(photos: DataSet) -> PatchDataset:
    return finished(photos, TINY)


def test_a_patch_knows_what_the_plain_codec_pays(lake: Image) -> None:
    patches = np.stack([lake.pixels[160:320, 160:320], lake.pixels[:160, :160]])
    codec = CODECS["jpeg"]
    around = (codec.setting(52), codec.setting(60), codec.setting(66))
    found = of_cuts([Cut(patches, around)], ("psnr",))
    files, score = {}, {}
    for quality in (52, 60, 66):
        files[quality] = [encode(Image(each), codec, codec.setting(quality), None, "pillow").data for each in patches]
        decoded = tensor([decode(file).pixels for file in files[quality]])
        score[quality] = SCORES["psnr"](tensor(list(patches)))(decoded)
    assert found.plain["psnr"].tolist() == pytest.approx(score[60].tolist(), abs=0.01)
    low, high = (sum(map(len, files[quality])) - 2 * 700 for quality in (52, 66))  # less the headers of ten scans
    slope = np.log(high / low) / float(score[66].mean() - score[52].mean())
    assert found.slopes["psnr"].tolist() == pytest.approx([slope] * 2, rel=0.1)
    assert found.rates[0] == pytest.approx(float(found.plain[RATE].mean()), rel=1e-5)


def test_jobs_change_nothing_and_files_keep_all(photos: DataSet, bank: PatchDataset, tmp_path: Path) -> None:
    assert len(bank.pixels) == 12 and bank.pixels.shape[1:] == (96, 96, 3)
    coarseness = bank.conditions[:, 256]
    assert coarseness.min() >= 0.079 and coarseness.max() <= 0.701 and len(set(coarseness.tolist())) > 4
    bank.save(tmp_path / "bank", "these")
    assert PatchDataset.load(tmp_path / "bank", "others") is None and PatchDataset.load(tmp_path, "these") is None
    for other in (finished(photos, TINY, 2), PatchDataset.load(tmp_path / "bank", "these")):
        assert other is not None
        assert torch.equal(other.pixels, bank.pixels) and torch.equal(other.conditions, bank.conditions)
        assert other.slopes.keys() == TINY.objective.keys() and other.plain.keys() == {*TINY.objective, RATE}
        assert torch.equal(other.rates, bank.rates)
        for name in TINY.objective:
            assert torch.equal(other.slopes[name], bank.slopes[name])
            assert torch.equal(other.plain[name], bank.plain[name])


def test_as_mozjpeg_codes_them(photos: DataSet, bank: PatchDataset) -> None:
    pytest.importorskip("pyvips")
    found, half = (finished(photos, replace(TINY, mozjpeg=share)) for share in (1.0, 0.5))
    assert torch.equal(found.pixels, bank.pixels) and torch.equal(half.pixels, bank.pixels)
    codec = CODECS["jpeg"]
    for conditions, coarseness in zip(found.conditions, bank.conditions[:, 256], strict=True):
        setting = codec.setting(round(100 * (1 - float(coarseness))))
        expected = condition(effective(setting, codec.backend("mozjpeg")))
        assert np.array_equal(conditions.numpy(), expected[0]) and conditions[-1] == 1
    assert not torch.equal(found.plain[RATE], bank.plain[RATE])
    for searched, rate, libjpeg, mozjpeg in zip(
        half.conditions[:, -1], half.plain[RATE], bank.plain[RATE], found.plain[RATE], strict=True
    ):
        assert rate == (mozjpeg if searched else libjpeg)
    assert 0 < half.conditions[:, -1].mean() < 1


def test_pictures_too_small_for_a_patch(photos: DataSet) -> None:
    with pytest.raises(InputError, match="no picture of 128 pixels a side"):
        finished(photos, replace(TINY, side=128))


def test_a_batch_follows_from_its_number(bank: PatchDataset) -> None:
    first, second, again = (bank.batch(TINY, number) for number in (0, 1, 1))
    assert torch.equal(second.images, again.images) and not torch.equal(first.images, second.images)


def test_levels_are_packed_as_the_codec_has_them(lake: Image) -> None:
    image = tensor([np.ascontiguousarray(lake.pixels[:96, :112])])
    steps = standard_quantiser_steps([70])
    exact = DifferentiableJpeg(steps).coefficients(image)
    found = unpack_levels(Rdo(16, 1).transform.coefficients(image), (96, 112))
    # The encoder rounds its planes.
    assert (found.luma - exact.luma * steps[0, 0]).abs().mean() < 0.3
    assert (found.chroma - exact.chroma * steps[0, 1]).abs().mean() < 0.3


def test_the_cost_of_deciding_nothing_is_nothing(bank: PatchDataset) -> None:
    module = RdoLoss(Rdo(16, 1), TINY.objective)
    torch.nn.init.constant_(module.network.context.leave.bias[: 2 * 384], -1e3)  # neither falls nor rises
    cost = module(bank.batch(TINY, 0))["loss"]
    assert cost.shape == (4,) and cost.abs().max() < 0.05  # planes that are not rounded


def test_the_objective_matters(bank: PatchDataset) -> None:
    def cost(objective: dict[str, float]) -> torch.Tensor:
        torch.manual_seed(0)
        return RdoLoss(Rdo(16, 1), objective)(bank.batch(TINY, 0))["loss"]  # type: ignore[no-any-return]

    nothing, one, other, both = map(cost, ({}, {"ssimulacra2": 1}, {"vif": 1}, {"ssimulacra2": 0.25, "vif": 0.75}))
    assert nothing.mean() < min(one.mean(), other.mean())  # without a score all that falls is gain
    assert torch.allclose(both, 0.25 * one + 0.75 * other, atol=1e-4)


def test_bits_count_by_the_rate_of_the_whole_picture(bank: PatchDataset) -> None:
    batch, module = bank.batch(TINY, 0), RdoLoss(Rdo(16, 1), {})
    with torch.no_grad():
        torch.manual_seed(0)
        cost = module(batch)["loss"]
        torch.manual_seed(0)
        assert torch.allclose(module(batch._replace(rates=2 * batch.rates))["loss"], cost / 2)
        torch.manual_seed(0)
        rate = module.rate(batch, module.sampled(batch))
    assert torch.allclose(cost, (rate - batch.plain[RATE]) / batch.rates)


def test_the_parts_add_up(bank: PatchDataset) -> None:
    found = RdoLoss(Rdo(16, 1), TINY.objective)(bank.batch(TINY, 0))
    assert torch.equal(found["loss"], found["distortion"] + found["rate"])
    assert found.keys() == {"loss", *RdoTask.parts} and (found["distortion"] > 0).any() and (found["rate"] < 0).any()


def squares(batch: Batch, module: RdoLoss) -> tuple[Sampled, torch.Tensor]:
    """Decisions, and weights of squared errors that differ by frequency."""
    torch.manual_seed(0)
    of_block = torch.rand(64)
    weights = torch.cat([of_block.repeat_interleave(4), of_block, of_block])[None, :, None, None]
    with torch.no_grad():
        return module.sampled(batch), weights


def test_the_change_of_cost_is_that_of_whole_steps(bank: PatchDataset) -> None:
    module = RdoLoss(Rdo(16, 1), {})
    torch.nn.init.normal_(module.network.context.leave.weight, std=0.3)
    sampled, weights = squares(bank.batch(TINY, 0), module)
    errors = sampled.levels - sampled.coefficients
    decrement = sampled.decrement.requires_grad_()
    increment = sampled.increment.requires_grad_()
    sampled = replace(sampled, decrement=decrement, increment=increment)
    of_decrements, of_increments = torch.autograd.grad(
        sampled.change_of_cost(2 * weights * errors).sum(), (decrement, increment)
    )
    before = sampled.coefficients.round()
    for found, step in ((of_decrements, -sampled.sign), (of_increments, sampled.sign)):
        stays, goes = ((level - sampled.coefficients).square() * weights for level in (before, before + step))
        assert torch.allclose(found, (goes - stays), atol=2e-3)


def test_the_curvature_of_squares_is_their_weight(bank: PatchDataset) -> None:
    sampled, weights = squares(bank.batch(TINY, 0), RdoLoss(Rdo(16, 1), {}))
    errors = sampled.levels - sampled.coefficients
    assert torch.allclose(diagonal_hessian(2 * weights * errors, errors), (2 * weights).expand_as(errors), rtol=1e-3)
    place = torch.ones_like(errors[:, :1])
    place[..., :3] = 2.0  # one half of the picture counts twice
    found = diagonal_hessian(2 * place * weights * errors, errors)
    assert 1.6 < float(found[..., 1].mean() / found[..., 4].mean()) < 2.1
    assert diagonal_hessian(-errors, errors).max() == 0  # no cost bends downwards
    noise = torch.randn(errors.shape, generator=torch.Generator().manual_seed(0))
    noisy = diagonal_hessian(2 * weights * errors + 0.03 * noise, errors)
    assert 0.9 < float(noisy[:, 256:].mean() / (2 * weights)[:, 256:].mean()) < 1.1


def test_the_cost_falls(photos: DataSet, tmp_path: Path) -> None:
    events = trained(RdoTask(photos, replace(TINY, steps=40, validate_every=20)), tmp_path)
    assert of(Prepared, events)[-1] == Prepared(4, 4)
    found = of(Validation, events)
    assert found[1].loss < found[0].loss < 0
    assert {"size_change_percent", "bd_rate_ssimulacra2_percent", "psnr_change"} <= found[0].metrics.keys()
    assert (tmp_path / "log.png").read_bytes().startswith(b"\x89PNG")


def test_patches_are_measured_once(photos: DataSet, tmp_path: Path) -> None:
    """Those of other pictures, or for another recipe, are measured anew."""
    task = RdoTask(photos, TINY)
    whole = validations(task, tmp_path / "whole")
    stopped(task, tmp_path / "parts", 11)
    rest = trained(task, tmp_path / "parts", resume=True)
    assert not of(Prepared, rest) and of(Validation, rest)[0].metrics == whole[1].metrics
    one, two = (load_file(tmp_path / part / "step-000016.safetensors") for part in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = RdoTask(photos, replace(TINY, seed=1))
    assert list(other.prepare(other.split(), tmp_path / "parts"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's exporter, about itself
def test_from_photographs_to_weights(photos: DataSet, tmp_path: Path, lake: Image) -> None:
    task = RdoTask(photos, TINY)
    events = trained(task, tmp_path / "checkpoints")
    found = of(Validation, events)
    card = exported(task, tmp_path / "checkpoints", events[-1], tmp_path / "small", "crops of a lake")
    best = min(found, key=lambda state: task.objective(state.metrics))
    assert card["best_step"] == best.step and card["codec"] == "jpeg"
    assert card["data"] == "4 photographs, crops of a lake"
    weights = weight_files.open_weights(tmp_path / "small.safetensors", "rdo")
    assert json.loads(weights.metadata["recipe"])["width"] == 16
    network = Rdo(16, 1)
    network.load_state_dict(load_file(best.checkpoint))
    shipped = load("rdo", device="cpu", weights=weights.path, codec="jpeg")
    assert shipped is not None and shipped.conditioned
    setting = CODECS["jpeg"].setting(60)
    image = Image(np.ascontiguousarray(lake.pixels[:99, :133]))
    through_onnx, through_torch = (each(image, setting).pixels for each in (shipped, preprocessor(network)))
    assert (through_onnx == through_torch).mean() > 0.999 and not np.array_equal(through_onnx, image.pixels)
    with pytest.raises(UsageError, match="are for jpeg, not for webp"):
        load("rdo", device="cpu", weights=weights.path, codec="webp")
    begun = RdoTask(photos, replace(TINY, start="begun"), start=weights)
    state = begun.build().network.state_dict()
    assert all(torch.equal(values, state[name]) for name, values in network.state_dict().items())
    with pytest.raises(UsageError, match=r"has width 16\. Give --width 16"):
        RdoTask(photos, replace(TINY, width=8), start=weights).build()
    deeper = replace(TINY, depth=TINY.depth + 1)
    with pytest.raises(UsageError, match=rf"has depth {TINY.depth}\. Give weights with depth {deeper.depth}"):
        RdoTask(photos, deeper, start=weights).build()
