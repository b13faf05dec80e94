"""Training of the network that mixes filters: its labels, its loss, and the way of all trainings."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pil
from safetensors.torch import load_file
from scipy.stats import norm
from training import toy
from training.toy import exported, stopped, validations

from kcompress.codecs import CODECS, decode
from kcompress.dataset import DataSet
from kcompress.encoding import encode
from kcompress.errors import InputError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.inference.batches import tensor
from kcompress.metrics import METRICS
from kcompress.networks.blend import CHOICES, Blend
from kcompress.networks.filter_bank import FILTERS
from kcompress.networks.loading import load
from kcompress.networks.shrink import Shrink
from kcompress.proxies.straight_through import container_bytes
from kcompress.training.photos import picture
from kcompress.training.tasks.blend import labels as labelling
from kcompress.training.tasks.blend.labels import Labels, choices, labelled
from kcompress.training.tasks.blend.loss import ExactBatch, ExactLoss, LabelledBatch, LabelLoss
from kcompress.training.tasks.blend.recipe import THROUGH, BlendRecipe
from kcompress.training.tasks.blend.task import BlendTask, domain
from kcompress.training.validation import under_training
from kcompress.workers import drained

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = BlendRecipe(
    "jpeg", 40, 80, width=4, steps=4, batch=2, patches=4, side=64, warmup=1, validate_every=2, split=0.6,
    validation_pictures=1, noisy=0.0, objective={"ssimulacra2": 0.75, "psnr": 0.25},
)  # fmt: skip
EXACT = replace(TINY, through="exact")
JPEG = CODECS["jpeg"]


def measured(photos: DataSet, folder: Path, recipe: BlendRecipe = TINY, jobs: int = 1) -> Labels:
    return drained(labelled(photos, photos.names()[:2], recipe, folder, jobs))


@pytest.fixture(scope="module")
def labels(photos: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Labels:
    return measured(photos, tmp_path_factory.mktemp("measured"))


def test_labels_are_what_the_encoder_makes_of_each_choice(labels: Labels) -> None:
    assert labels.patches.shape == (4, 64, 64, 3) and labels.rates.shape == (4, 2 + len(CHOICES))
    patch, coarseness = labels.patches[3].numpy(), labels.coarseness[3].item()
    setting = JPEG.setting(round(100 * (1 - coarseness)))
    assert setting.coarseness == pytest.approx(coarseness)
    for number in (0, 5, len(CHOICES) - 1):
        data = encode(Image(choices(patch, coarseness)[number]), JPEG, setting).data
        assert labels.rates[3, 2 + number] == pytest.approx(np.log(len(data) - container_bytes(setting, 64, 64)))
        score = METRICS["ssimulacra2"].score(patch, decode(data).pixels)
        assert labels.scores["ssimulacra2"][3, 2 + number] == pytest.approx(score, abs=1e-4)
    assert (labels.rates[:, 0] < labels.rates[:, 2]).all() and (labels.rates[:, 1] > labels.rates[:, 2]).all()


def test_scores_of_noisy_patches_compare_with_what_they_were(photos: DataSet, tmp_path: Path) -> None:
    some, every = (measured(photos, tmp_path, replace(TINY, patches=8, noisy=share)) for share in (0.5, 1.0))
    is_noisy = [not torch.equal(*pair) for pair in zip(some.patches, some.originals, strict=True)]
    assert 0 < sum(is_noisy) < 8 and not any(map(torch.equal, every.patches, every.originals))
    row = is_noisy.index(True)
    patch, original = (part[row].numpy() for part in (some.patches, some.originals))
    assert 0.3 < np.abs(patch.astype(int) - original).mean() < 20
    setting = JPEG.setting(round(100 * (1 - some.coarseness[row].item())))
    decoded = decode(encode(Image(patch), JPEG, setting).data).pixels
    assert some.scores["ssimulacra2"][row, 2] == pytest.approx(
        METRICS["ssimulacra2"].score(original, decoded), abs=1e-4
    )
    clean = is_noisy.index(False)
    assert not torch.equal(some.mosaics[row], some.mosaics[clean])


@pytest.mark.parametrize("codec", ["jpeg", "webp", "hevc"])
def test_a_flat_patch_says_nothing(tmp_path: Path, codec: str) -> None:
    """One patch without any detail once made the loss of a whole training nan."""
    Pil.fromarray(np.full((64, 64, 3), 128, np.uint8)).save(tmp_path / "fog.png")
    recipe = replace(TINY, codec=codec, lowest=20, highest=40, patches=1)
    found = drained(labelled(DataSet(str(tmp_path)), ["fog.png"], recipe, tmp_path / "labels", 1))
    assert torch.equal(found.gains(TINY), torch.zeros(1, len(CHOICES)))


def test_gains_are_bytes_and_scores_at_the_plain_codecs_price(labels: Labels) -> None:
    gains = labels.gains(replace(TINY, limit=9.0))
    assert torch.equal(gains[:, 0], torch.zeros(4))
    expected = labels.rates[:, 2] - labels.rates[:, 7] + sum(
        share * labels.prices(name)[:, 0] * (labels.scores[name][:, 7] - labels.scores[name][:, 2])
        for name, share in TINY.objective.items()
    )  # fmt: skip
    assert torch.allclose(gains[:, 5], expected, atol=1e-6)
    assert labels.gains(replace(TINY, limit=0.01)).abs().max() <= 0.01


def test_a_price_is_the_rise_of_bytes_over_that_of_the_score_where_the_quality_is_alike(labels: Labels) -> None:
    coarseness = labels.coarseness[:, 0].double().numpy()
    paid, gained = ((part[:, 1] - part[:, 0]).double().numpy() for part in (labels.rates, labels.scores["psnr"]))
    for place, price in zip(coarseness, labels.prices("psnr").flatten().tolist(), strict=True):
        near = norm.pdf(coarseness, place, 0.1)
        expected = np.average(paid, weights=near) / np.average(gained, weights=near)
        assert price == pytest.approx(expected, rel=1e-5) and price > 0


def test_noise_of_a_score_makes_no_cheap_quality(labels: Labels) -> None:
    """A fit of bytes to the score, with errors in the score, once said two thirds of the price."""
    random = np.random.default_rng(0)
    coarseness = np.where(np.arange(2_000) % 2, 0.7, 0.1)
    true = np.where(coarseness < 0.5, 0.1, 0.04)
    rates = np.stack([-0.4 * np.ones(2_000), 0.4 * np.ones(2_000), np.zeros(2_000)], axis=1)
    scores = rates / true[:, None] + random.normal(0, 8, rates.shape)
    found = replace(
        labels, rates=torch.tensor(rates), scores={"psnr": torch.tensor(scores)},
        coarseness=torch.tensor(coarseness[:, None]),
    ).prices("psnr")  # fmt: skip
    assert np.abs(found[:, 0].numpy() / true - 1).max() < 0.1
    falling = replace(labels, scores={"psnr": -labels.scores["psnr"]})
    assert torch.equal(falling.prices("psnr"), torch.zeros(4, 1))


def test_a_score_without_reference_counts_where_the_original_is_poor(labels: Labels) -> None:
    scores = {name: labels.scores["psnr"] for name in ("vqscore", "psnr", "ssimulacra2")}
    rated = replace(labels, scores=scores, pristine={"vqscore": torch.tensor([[60.0], [75.0], [83.5], [95.0]])})
    recipe = replace(TINY, objective={"vqscore": 0.5, "psnr": 0.4, "ssimulacra2": 0.1}, poor=75.0, pristine=92.0)
    worths, price = rated.worths(recipe), labels.prices("psnr")[:, 0]
    assert torch.allclose(worths["vqscore"][:, 0], price * torch.tensor([0.5, 0.5, 0.25, 0.0]))
    assert torch.allclose(torch.stack(list(worths.values())).sum(0)[:, 0], price)
    assert torch.allclose(worths["psnr"], 4 * worths["ssimulacra2"])
    alone = rated.worths(replace(recipe, objective={"vqscore": 1.0}))
    assert torch.equal(alone["vqscore"][:, 0], price)


def test_patches_lie_on_blocks_of_jpeg(labels: Labels, photos: DataSet) -> None:
    pictures = [picture(photos, name) for name in photos.names()[:2]]
    squares = {
        np.ascontiguousarray(each[top : top + 64, left : left + 64]).tobytes()
        for each in pictures
        for top in range(0, each.shape[0] - 63, 16)
        for left in range(0, each.shape[1] - 63, 16)
    }
    assert all(patch.numpy().tobytes() in squares for patch in labels.patches)


def test_choices_are_the_filters_of_the_bank(labels: Labels) -> None:
    patch = labels.patches[0].numpy()
    made = dict(zip([tuple(choice.items()) for choice in CHOICES], choices(patch, 0.5), strict=True))
    assert np.array_equal(made[()], patch)
    for name in (name for name in FILTERS if "guided" in name):
        whole, half = (made[((name, strength),)].astype(int) for strength in (1.0, 0.5))
        assert np.abs(whole - patch).max() > 0 and np.abs(half - (whole + patch) / 2).max() <= 1


def test_labels_are_kept_and_another_score_encodes_nothing(photos: DataSet, tmp_path: Path, monkeypatch) -> None:
    first = measured(photos, tmp_path, jobs=2)
    monkeypatch.setattr(labelling, "encode", lambda *_: pytest.fail("encoded again"))
    again = measured(photos, tmp_path, replace(TINY, objective={"ssimulacra2": 0.5, "butteraugli": 0.5}))
    assert torch.equal(first.rates, again.rates) and set(again.scores) == {"ssimulacra2", "butteraugli"}
    assert torch.equal(first.scores["ssimulacra2"], again.scores["ssimulacra2"])
    monkeypatch.setattr(labelling, "decode", lambda *_: pytest.fail("scored again"))
    assert torch.equal(measured(photos, tmp_path).scores["psnr"], first.scores["psnr"])


def test_new_weights_of_a_score_score_anew(photos: DataSet, tmp_path: Path, shipped, tiny_weights) -> None:
    recipe = replace(TINY, objective={"vqscore": 1.0})
    before = measured(photos, tmp_path, recipe)
    shipped(tiny_weights)
    after = measured(photos, tmp_path, recipe)
    assert torch.equal(before.rates, after.rates)
    assert not torch.allclose(before.scores["vqscore"], after.scores["vqscore"])


def test_the_loss_is_least_by_a_boltzmann_distribution() -> None:
    """By shares in proportion to exp(gain / temperature), whatever the features."""
    network = Blend(4)
    gains = torch.linspace(-0.05, 0.05, len(CHOICES))[None]
    batch = LabelledBatch(torch.rand(1, 9, 4, 4), torch.rand(1, 9, 4, 4), torch.rand(1, 1), gains)
    losses = []
    for wrong in (torch.zeros(len(CHOICES)), torch.eye(len(CHOICES))[3] / 4, -torch.eye(len(CHOICES))[9] / 4):
        with torch.no_grad():
            network.leave.bias.copy_(gains[0] / 0.02 + wrong)
        found = LabelLoss(network, 0.02)(batch)
        losses.append(found["loss"].item())
    assert losses[0] < min(losses[1:])
    assert losses[0] == pytest.approx(-torch.logsumexp(gains[0] / 0.02, 0).item(), abs=1e-4)


def test_it_learns_which_pictures_want_which_filter() -> None:
    torch.manual_seed(0)
    network = Blend(8)
    local = torch.rand(8, 9, 4, 4)
    gains = torch.zeros(8, len(CHOICES))
    gains[:4, 2] = gains[4:, 5] = 0.1
    local[:4, 0] += 1
    batch = LabelledBatch(local, local, torch.full((8, 1), 0.5), gains)
    loss = LabelLoss(network, 0.02)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimiser.zero_grad()
        loss(batch)["loss"].mean().backward()
        optimiser.step()
    assert loss(batch)["gain"].min() > 0.08


def test_the_mix_itself_is_judged_through_the_twin(photos: DataSet, tmp_path: Path) -> None:
    """Its gain is that of the real encoder's file and picture; nothing is encoded behind single filters."""
    torch.manual_seed(0)
    task = BlendTask(photos, replace(EXACT, limit=9.0))
    data = drained(task.prepare(task.split(), tmp_path))
    network = Blend(4)
    with torch.no_grad():
        network.leave.bias[5] = 2
    batch = task.batch(data, 0)
    assert isinstance(batch, ExactBatch)
    found = ExactLoss(network, task.recipe)(batch)
    assert found["loss"].requires_grad and not found["gain"].requires_grad
    for number, patch in enumerate(batch.patches.numpy()):
        setting = JPEG.setting(round(100 * (1 - batch.coarseness[number].item())))
        with torch.no_grad():
            made = network(tensor([patch]), batch.mosaics[number : number + 1] / 255, batch.coarseness[[number]])
        pixels = (255 * made[0]).permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
        plain, mixed = (encode(Image(each), JPEG, setting).data for each in (patch, pixels))
        worth = 0.0
        for name in EXACT.objective:
            before, after = (METRICS[name].score(patch, decode(file).pixels) for file in (plain, mixed))
            worth += batch.slopes[name][number].item() * (after - before)
        bits = [np.log(len(file) - container_bytes(setting, 64, 64)) for file in (plain, mixed)]
        assert found["gain"][number] == pytest.approx(worth + bits[0] - bits[1], abs=0.1)


def test_the_mix_learns_through_the_twin(photos: DataSet, tmp_path: Path) -> None:
    task = BlendTask(photos, replace(EXACT, batch=4, learning_rate=0.02, validate_every=12, steps=12, warmup=0))
    data = drained(task.prepare(task.split(), tmp_path))
    torch.manual_seed(0)
    module = ExactLoss(Blend(4), task.recipe)
    optimiser = torch.optim.Adam(module.parameters(), 0.02)
    losses = []
    for _ in range(12):
        loss = module(task.batch(data, 0))["loss"].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.005


@pytest.mark.parametrize("recipe", [TINY, EXACT], ids=THROUGH)
def test_it_goes_on_where_it_stopped_whatever_the_jobs(photos: DataSet, tmp_path: Path, recipe: BlendRecipe) -> None:
    assert [state.step for state in validations(BlendTask(photos, recipe, jobs=2), tmp_path / "whole")] == [2, 4]
    stopped(BlendTask(photos, recipe), tmp_path / "parted", 3)
    assert [state.step for state in validations(BlendTask(photos, recipe), tmp_path / "parted", resume=True)] == [4]
    one, other = (load_file(tmp_path / name / "step-000004.safetensors") for name in ("whole", "parted"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["leave.bias"], torch.zeros(len(CHOICES)))


@pytest.mark.filterwarnings("ignore")  # of torch's exporter, about itself
def test_what_ships(photos: DataSet, tmp_path: Path, lake: Image) -> None:
    task = BlendTask(photos, TINY)
    events = toy.trained(task, tmp_path / "checkpoints")
    card = exported(task, tmp_path / "checkpoints", events[-1], tmp_path / "mine", "a lake, CC0")
    assert json.loads(json.dumps(card)) == json.loads((tmp_path / "mine.json").read_text())
    assert card["network"] == "blend" and card["codec"] == "jpeg" and tuple(card["recipe"]["coarseness"]) == (0.2, 0.6)
    assert 0 < card["gflop_at_1920x1080"] <= 40 and set(card["prices"]) == set(TINY.objective)
    weights = weight_files.open_weights(tmp_path / "mine.safetensors", "blend")
    shipped = load("blend", device="cpu", weights=weights.path, codec="jpeg")
    module = Blend(**weights.arguments)
    module.load_state_dict(weights.tensors())
    assert shipped is not None
    setting = JPEG.setting(60)
    one, other = (each(lake, setting).pixels for each in (shipped, under_training(module, domain(TINY))))
    assert np.abs(one.astype(int) - other).max() <= 1 and not np.array_equal(one, lake.pixels)


def test_validation_is_behind_the_tables_that_go_with_the_network(photos: DataSet, tmp_path: Path) -> None:
    untouched = Shrink(0.0)
    for codec, alike in (("jpeg", False), ("webp", True)):
        task = BlendTask(photos, replace(TINY, codec=codec))
        data = drained(task.prepare(task.split(), tmp_path / codec))
        assert (data.validator(untouched)["size_change_percent"] == 0) == alike


def test_pictures_must_hold_a_patch(photos: DataSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture of 400 pixels a side"):
        validations(BlendTask(photos, replace(TINY, side=400)), tmp_path / "large")
