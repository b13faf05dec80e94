"""Training for machines: equation 1, its stages, and the way to weights (NPP paper, sections 3.3 and 4.1)."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from labeling.tools import save
from safetensors.torch import load_file
from tiny_weights import write_classifier
from training.toy import exported, of, stopped, trained, validations

from kcompress.codecs import CODECS
from kcompress.dataset import DataSet
from kcompress.errors import InputError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.machine.models import open_model
from kcompress.machine.tasks import task
from kcompress.networks.loading import load
from kcompress.networks.npp import Npp
from kcompress.proxies.choice import FrozenProxy
from kcompress.proxies.sampled import displaced
from kcompress.proxies.simulator import Simulator
from kcompress.proxies.straight_through import encode_decode
from kcompress.training.events import Step
from kcompress.training.tasks.npp.loss import Batch, NppLoss
from kcompress.training.tasks.npp.recipe import RANGES, NppRecipe
from kcompress.training.tasks.npp.task import NppData, NppTask, filtering
from kcompress.training.tasks.npp.validation import NAMES, TaskValidator
from kcompress.training.tasks.proxies.minnen import MinnenTask
from kcompress.training.tasks.proxies.recipe import MinnenRecipe

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = NppRecipe(
    "classification", "tiny", True, "jpeg", 45, 20, 33, width=4, side=32, fixed_steps=8, adaptive_steps=8, batch=2,
    learning_rate=3e-3, warmup=2, validate_every=8, validation_pictures=2, split=0.6, exact_from=0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def photos(lake: Image, balloons: Image, tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Six crops in each of two classes."""
    folder = tmp_path_factory.mktemp("photos")
    for name, image in (("lake", lake), ("balloons", balloons)):
        for number in range(6):
            crop = image.pixels[12 * number : 12 * number + 40, 9 * number : 9 * number + 48]
            (folder / name).mkdir(exist_ok=True)
            save(np.ascontiguousarray(crop), folder / name / f"{number}.png")
    return DataSet(str(folder))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory):
    return task(
        "classification",
        open_model(str(write_classifier(tmp_path_factory.mktemp("model") / "tiny.safetensors"))),
        range(2),
    )


@pytest.fixture(scope="module")
def proxy() -> Simulator:
    torch.manual_seed(0)
    return Simulator(8, 1).eval().requires_grad_(False)


def npp(photos, judge, proxy, recipe=TINY) -> NppTask:
    return NppTask(photos, recipe, judges=(judge,), proxy=proxy)


def batch(lake: Image, **more) -> Batch:
    pixels = np.ascontiguousarray(lake.pixels[40:72, 60:92])
    pictures = torch.from_numpy(pixels.transpose(2, 0, 1)[None] / np.float32(255)).repeat(2, 1, 1, 1)
    return Batch(pictures, [0, 1], [33, 20], adaptive=True)._replace(**more)


def test_equation_1(lake, judge, proxy) -> None:
    """Bits and decoded picture of the real encoder; lambda by quality; beta times the change of the picture."""
    seen = batch(lake)
    network = Npp(4)
    torch.nn.init.constant_(network.pixels_out.bias, 0.02)
    found = NppLoss(network, [judge], proxy, TINY, 1)(seen)
    cost = found["loss"].detach()
    filtered = (seen.pictures + 0.02).clamp(0, 1)
    for number, quality in enumerate(seen.qualities):
        pixels = np.rint(filtered[number].numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
        shown, bits = encode_decode(np.ascontiguousarray(pixels), CODECS["jpeg"].setting(quality))
        decoded = torch.from_numpy(shown.transpose(2, 0, 1)[None] / np.float32(255))
        loss = float(judge.loss(decoded, judge.class_targets([number])))
        parts = {"rate": bits, "task": TINY.trade(quality) * loss, "closeness": 0.5 * 0.02**2}
        assert float(cost[number]) == pytest.approx(sum(parts.values()), rel=1e-4)
        assert {name: float(found[name][number]) for name in NppTask.parts} == pytest.approx(parts, rel=1e-3)


def test_of_several_models_the_mean_counts(tmp_path, lake, judge, proxy) -> None:
    """The second is another, takes pictures of its own size, and has more classes."""
    path = write_classifier(tmp_path / "other.safetensors", classes=3, side=24)
    other = task("classification", open_model(str(path)))
    seen = batch(lake, classes=None)
    one, two, both = (
        NppLoss(Npp(4), judges, proxy, TINY, 1)(seen)["task"] for judges in ([judge], [other], [judge, other])
    )
    assert not torch.allclose(one, two) and torch.allclose(both, (one + two) / 2)
    pictures = [np.ascontiguousarray(lake.pixels[k : k + 32, :32]) for k in (0, 32)]
    points = [
        TaskValidator("jpeg", (45, 20), judges, pictures, None, 1)._plain
        for judges in ([judge], [other], [judge, other])
    ]
    for alone, beside, together in zip(*points, strict=True):
        assert together.loss == pytest.approx((alone.loss + beside.loss) / 2)
        assert together.score == pytest.approx((alone.score + beside.score) / 2)


def test_a_step_may_be_judged_by_some_of_the_models(tmp_path, lake, judge, proxy) -> None:
    path = write_classifier(tmp_path / "other.safetensors", classes=3, side=24)
    other, seen = task("classification", open_model(str(path))), batch(lake, classes=None)
    of = [
        NppLoss(Npp(4), [judge, other], proxy, TINY, 1)(seen._replace(judges=frozenset(who)))["task"]
        for who in ({0}, {1}, {0, 1})
    ]
    alone = [NppLoss(Npp(4), [each], proxy, TINY, 1)(seen)["task"] for each in (judge, other)]
    assert torch.equal(of[0], alone[0]) and torch.equal(of[1], alone[1]) and not torch.allclose(of[0], of[1])
    assert torch.allclose(of[2], (alone[0] + alone[1]) / 2)


def test_drawn_models_take_turns(photos, judge, proxy, lake) -> None:
    several = NppTask(photos, replace(TINY, drawn=2), judges=(judge, judge, judge), proxy=proxy)
    drawn = [several.batch(data([lake.pixels], None), number).judges for number in range(30)]
    assert set(drawn) == {frozenset(pair) for pair in ((0, 1), (0, 2), (1, 2))}
    assert npp(photos, judge, proxy).batch(data([lake.pixels], None), 0).judges is None


def test_a_mosaic_has_one_quality(photos, judge, proxy, lake) -> None:
    mosaic = npp(photos, judge, proxy, replace(TINY, mosaic=True))
    found = [mosaic.batch(data([lake.pixels], None), 8 + number).qualities for number in range(30)]
    assert all(len(set(each)) == 1 for each in found) and len({each[0] for each in found}) > 10
    seen = batch(lake, qualities=[30, 30])
    one, other = (NppLoss(Npp(4), [judge], proxy, replace(TINY, mosaic=on), 1)(seen)["rate"] for on in (False, True))
    assert one.tolist() != other.tolist() and other[0] == other[1]


def test_zoomed_squares_are_shrunk(photos, judge, proxy) -> None:
    """Of a ramp: they span more of it, and neighbours differ by more."""
    ramp = np.broadcast_to(np.arange(100, dtype=np.uint8)[None, :, None], (90, 100, 3)).copy()
    spans = {}
    for zoom in (1.0, 2.0):
        zoomed = npp(photos, judge, proxy, replace(TINY, zoom=zoom))
        pictures = [zoomed.batch(data([ramp], None), number).pictures for number in range(20)]
        assert {tuple(each.shape) for each in pictures} == {(2, 3, 32, 32)}
        found = torch.cat(pictures)[:, 0, 0] * 255
        spans[zoom] = (found.amax(1) - found.amin(1)).tolist()
    assert spans[1.0] == pytest.approx([31] * 40) and 30 < min(spans[2.0]) < 36 and 54 < max(spans[2.0]) < 64


def test_the_values_of_the_proxy_are_the_ablation(lake, judge, proxy) -> None:
    seen = batch(lake)
    by_codec, by_proxy = (
        NppLoss(Npp(4), [judge], proxy, replace(TINY, values=values), 1)(seen)["loss"] for values in ("codec", "proxy")
    )
    decoded, bits = proxy(seen.pictures, torch.tensor([1 - 0.33, 1 - 0.2]))
    trade = torch.tensor([TINY.trade(33), TINY.trade(20)])
    assert torch.allclose(by_proxy, bits + trade * judge.loss(decoded, judge.class_targets([0, 1])))
    assert not torch.allclose(by_codec, by_proxy)


def test_the_values_of_a_simulator_are_samples(lake, judge, proxy) -> None:
    """With the expectation's gradients, which reach the network."""
    seen, frozen, network = batch(lake), FrozenProxy(proxy, "simulator"), Npp(4)
    found = []
    for recipe in (replace(TINY, values="proxy", sampled=sampled) for sampled in (True, False)):
        torch.manual_seed(3)
        found.append(NppLoss(network, [judge], frozen, recipe, 1)(seen))
    torch.manual_seed(3)
    decoded, bits = displaced(frozen.sample, seen.pictures, torch.tensor([1 - 0.33, 1 - 0.2]))
    assert torch.equal(found[0]["rate"], bits) and not torch.allclose(found[0]["rate"], found[1]["rate"])
    trade = torch.tensor([TINY.trade(33), TINY.trade(20)])
    assert torch.allclose(found[0]["task"], trade * judge.loss(decoded, judge.class_targets([0, 1])))
    found[0]["loss"].sum().backward()
    assert network.meaning_out.weight.grad is not None and network.meaning_out.weight.grad.abs().sum() > 0


def test_what_goes_beyond_a_file_has_no_bits(lake, judge, proxy) -> None:
    """All white: bits and task know no whiter; closeness does."""
    costs = []
    for bias in (1.0, 5.0):
        network = Npp(4)
        torch.nn.init.constant_(network.pixels_out.bias, bias)
        costs.append(NppLoss(network, [judge], proxy, replace(TINY, values="proxy"), 1)(batch(lake)))
        through = torch.autograd.grad(costs[-1]["loss"].sum(), network.pixels_out.bias)[0]
    assert torch.equal(costs[0]["rate"], costs[1]["rate"]) and torch.equal(costs[0]["task"], costs[1]["task"])
    assert (costs[0]["closeness"] < costs[1]["closeness"]).all() and (through > 0).all()


def test_gradients_are_the_proxys(lake, judge, proxy) -> None:
    """Without one, the network learns nothing of bits and task; through one it learns both."""
    network = Npp(4)
    seen = batch(lake)
    NppLoss(network, [judge], proxy, TINY, 1)(seen)["loss"].sum().backward()
    through = network.meaning_out.weight.grad
    assert through is not None and through.abs().sum() > 0

    def blind(pictures, coarseness):
        return pictures.detach() * 1, torch.ones(len(pictures)) + 0 * pictures.sum()

    network.zero_grad()
    NppLoss(network, [judge], blind, replace(TINY, closeness=0.0), 1)(seen)["loss"].sum().backward()
    assert network.meaning_out.weight.grad.abs().sum() == 0


def test_the_model_is_frozen(lake, judge, proxy) -> None:
    objective = NppLoss(Npp(4), [judge], proxy, TINY, 1)
    assert all(name.startswith("network.") for name, _ in objective.named_parameters())


def test_without_labels_the_models_own_answer_is_the_truth(lake, judge, proxy) -> None:
    seen = batch(lake, classes=None)
    cost = NppLoss(Npp(4), [judge], proxy, replace(TINY, values="proxy", labelled=False), 1)(seen)["loss"]
    decoded, bits = proxy(seen.pictures, torch.tensor([1 - 0.33, 1 - 0.2]))
    trade = torch.tensor([TINY.trade(33), TINY.trade(20)])
    assert torch.allclose(cost, bits + trade * judge.loss(decoded, judge.pseudo_labels(seen.pictures)))


def data(pictures, classes) -> NppData:
    return NppData(trained_on=1, held_out=1, metrics=NAMES, heading="", pictures=pictures, classes=classes,
                   validator=None)  # fmt: skip


def test_the_first_stage_has_one_quality_and_no_adaptive_layers(photos, judge, proxy) -> None:
    seen = data([np.full((40, 48, 3), value, np.uint8) for value in (1, 2, 3)], [0, 1, 0])
    task = npp(photos, judge, proxy)
    first = [task.batch(seen, number) for number in range(TINY.fixed_steps)]
    second = [task.batch(seen, TINY.fixed_steps + number) for number in range(30)]
    assert all(each.qualities == [33, 33] and not each.adaptive for each in first)
    qualities = {quality for each in second for quality in each.qualities}
    assert all(each.adaptive for each in second) and min(qualities) >= 20 and max(qualities) <= 45
    assert len(qualities) > 15
    found = {round(float(each.pictures[0, 0, 0, 0]) * 255): each.classes[0] for each in first}
    assert len(found) > 1 and found.items() <= {1: 0, 2: 1, 3: 0}.items()


def test_a_batch_follows_from_its_number(photos, judge, proxy, lake) -> None:
    seen, task = data([lake.pixels], None), npp(photos, judge, proxy)
    first, second, again = (task.batch(seen, number) for number in (20, 21, 21))
    assert torch.equal(second.pictures, again.pictures) and second.qualities == again.qualities
    assert not torch.equal(first.pictures, second.pictures) and first.classes is None


def test_an_interrupted_training_on_samples_ends_as_if_it_had_not_been(photos, judge, proxy, tmp_path) -> None:
    """What is drawn goes on where it was, before the first validation, too."""
    recipe = replace(TINY, values="proxy", augment=True, sampled=True)
    task = npp(photos, judge, FrozenProxy(proxy, "simulator"), replace(recipe, validate_every=16))
    whole = of(Step, trained(task, tmp_path / "whole"))
    stopped(task, tmp_path / "parts", 5)
    assert of(Step, trained(task, tmp_path / "parts", resume=True)) == whole[4:]
    one, other = (load_file(tmp_path / place / "step-000016.safetensors") for place in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_adaptive_layers_wait_for_their_stage(photos, judge, proxy, tmp_path) -> None:
    task = npp(photos, judge, proxy, replace(TINY, validate_every=4))
    paths = [event.checkpoint for event in validations(task, tmp_path)]
    fixed, adaptive = load_file(paths[1]), load_file(paths[-1])
    assert torch.equal(fixed["adaptation.leave.weight"], torch.zeros_like(fixed["adaptation.leave.weight"]))
    assert not torch.equal(adaptive["adaptation.leave.weight"], fixed["adaptation.leave.weight"])


def test_rates_drop_to_a_tenth_in_both_stages() -> None:
    recipe = NppRecipe("classification", "", True, "bpg", 28, 41, 34, fixed_steps=120, adaptive_steps=100, warmup=0)
    rates = [recipe.rate(step) for step in range(recipe.steps)]
    assert rates[:80] == [1e-4] * 80 and rates[80:120] == pytest.approx([1e-5] * 40)
    assert rates[120:180] == [1e-4] * 60 and rates[180:] == pytest.approx([1e-5] * 40)


def test_lambda_is_near_the_papers() -> None:
    recipe = NppRecipe("classification", "", True, "bpg", *RANGES["bpg"], 34)
    for quality, published in zip((28, 31, 34, 37, 41), (0.5, 1, 2, 4, 8), strict=True):
        assert recipe.trade(quality) == pytest.approx(published, rel=0.16)
    assert replace(recipe, finest_weight=3.0, coarsest_weight=3.0).trade(35) == pytest.approx(3)


def test_five_qualities_are_judged_or_one() -> None:
    assert NppRecipe("classification", "", True, "bpg", 28, 41, 34).qualities == (28, 31, 34, 38, 41)
    assert replace(TINY, adaptive_steps=0).qualities == (33,)


def test_the_validator_is_fair(lake, judge) -> None:
    """The plain codec against itself is no change; fewer bits for the same picture are a gain."""
    pictures = [np.ascontiguousarray(lake.pixels[30 * n : 30 * n + 32, 50:82]) for n in range(4)]
    found = TaskValidator("jpeg", (45, 39, 33, 26, 20), [judge], pictures, [0, 1, 0, 1], 1)
    same = found(lambda each, setting: list(each))
    assert same["size_change_percent"] == 0 == same["loss_change"] == same["size_at_equal_loss_percent"]
    flat = found(lambda each, setting: [np.full_like(pixels, 128) for pixels in each])
    assert flat["size_change_percent"] < -90


def test_the_loss_falls(photos, judge, proxy, tmp_path, lake) -> None:
    recipe = replace(TINY, fixed_steps=30, adaptive_steps=30, validate_every=60)
    found = validations(npp(photos, judge, proxy, recipe), tmp_path)
    after = Npp(4)
    after.load_state_dict(load_file(tmp_path / "best.safetensors"))
    seen = batch(lake)
    with torch.no_grad():
        costs = [float(NppLoss(each, [judge], proxy, recipe, 1)(seen)["loss"].mean()) for each in (Npp(4), after)]
    assert costs[1] < costs[0]
    assert set(found[-1].metrics) == set(NAMES) and found[-1].metrics["score_change"] is not None


def test_the_objective_is_the_bd_rate_or_behind_all_that_have_one(photos, judge, proxy) -> None:
    objective = npp(photos, judge, proxy).objective
    changes = {"size_change_percent": -50.0, "loss_change": 0.0}
    assert objective({**changes, "bd_rate_loss_percent": 3.0}) == 3 < 500 < objective(changes)
    assert objective(changes) < objective({**changes, "loss_change": 0.1})


def test_pictures_that_are_too_small_are_refused(photos, judge, proxy, tmp_path) -> None:
    with pytest.raises(InputError, match="too few pictures of 64 pixels a side"):
        validations(npp(photos, judge, proxy, replace(TINY, side=64)), tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's exporter, about itself
def test_from_pictures_to_weights(photos, judge, proxy, tmp_path, lake) -> None:
    task = npp(photos, judge, proxy)
    finished = trained(task, tmp_path / "checkpoints")[-1]
    card = exported(task, tmp_path / "checkpoints", finished, tmp_path / "small", "crops")
    assert card["data"] == f"{finished.data.trained_on} pictures, crops" and card["codec"] == "jpeg"
    assert card["recipe"]["coarseness"] == pytest.approx([0.55, 0.8]) and card["recipe"]["lowest"] == 20
    weights = weight_files.open_weights(tmp_path / "small.safetensors", "npp")
    assert json.loads(weights.metadata["arguments"]) == {"width": 4}
    shipped = load("npp", device="cpu", weights=weights.path, codec="jpeg")
    network = Npp(4)
    network.load_state_dict(load_file(tmp_path / "checkpoints/best.safetensors"))
    image = Image(np.ascontiguousarray(lake.pixels[:45, :61]))
    setting = CODECS["jpeg"].setting(30)
    assert shipped is not None
    (by_torch,) = filtering(network, TINY)([image.pixels], setting)
    assert np.abs(shipped(image, setting).pixels.astype(int) - by_torch).max() <= 1
    assert math.isfinite(card["against_the_plain_codec"]["size_change_percent"])


@pytest.mark.slow
def test_three_stages(photos, judge, tmp_path) -> None:
    """Section 4.1: a proxy that mimics BPG, one quality without adaptive layers, random ones with them."""
    first = MinnenRecipe(
        "bpg", 34, 34, width=8, latent=8, steps=40, batch=4, versions=2, patches=8, side=32, warmup=2,
        learning_rate=3e-3, mimic_from=0.0, validate_every=40, validation_pictures=2, split=0.6,
    )  # fmt: skip
    proxy = MinnenTask(photos, first)
    losses = [event.loss for event in of(Step, trained(proxy, tmp_path / "proxy"))]
    mimic = proxy.network(proxy.build())
    mimic.load_state_dict(load_file(tmp_path / "proxy/best.safetensors"))
    mimic.eval().requires_grad_(False)
    recipe = replace(TINY, codec="bpg", finest=28, fixed=34, coarsest=41, fixed_steps=30, adaptive_steps=30,
                     validate_every=60, effort=1, exact_from=0.0)  # fmt: skip
    task = npp(photos, judge, mimic, recipe)
    validations(task, tmp_path / "npp")
    tuned = Npp(4)
    tuned.load_state_dict(load_file(tmp_path / "npp/best.safetensors"))
    crops = [photos.read(name) for name in photos.names()]
    pictures = [np.asarray(PIL.Image.open(io.BytesIO(crop))) for crop in crops]
    of_both = data(pictures, [0] * 6 + [1] * 6)
    seen = [task.batch(of_both, recipe.fixed_steps + number) for number in range(8)]
    # So few steps follow the gradients for sure, which are the proxy's; that so small a one is right about BPG is not.
    foretold = replace(recipe, values="proxy")
    with torch.no_grad():
        before, after = (
            np.mean([float(NppLoss(each, [judge], mimic, foretold, 1)(part)["loss"].mean()) for part in seen])
            for each in (Npp(4), tuned)
        )
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert after < before
