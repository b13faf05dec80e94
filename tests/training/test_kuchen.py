"""From labels to weights that encode uses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training.toy import exported, of, trained, validations

from kcompress.dataset import digest
from kcompress.errors import UsageError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.networks.kuchen import Kuchen
from kcompress.networks.loading import load
from kcompress.training.events import Validation
from kcompress.training.tasks.kuchen.labelled import Pair, opened
from kcompress.training.tasks.kuchen.recipe import KuchenRecipe
from kcompress.training.tasks.kuchen.task import KuchenLoss, KuchenTask, errors

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = KuchenRecipe(
    width=4, steps=40, patch_width=32, patch_height=24, stride=16, learning_rate=3e-3, validate_every=20,
    validation_pictures=2,
)  # fmt: skip


def task(labels: Path, recipe: KuchenRecipe = TINY) -> KuchenTask:
    return KuchenTask(opened(labels), recipe)


def test_the_network_comes_nearer_to_the_labels(labels: Path, tmp_path: Path) -> None:
    found = validations(task(labels, replace(TINY, steps=120, validate_every=60)), tmp_path)
    assert found[-1].error < 0.9 * found[-1].identity_error and found[-1].loss < found[0].loss
    assert (tmp_path / "log.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    assert {"size_change_percent", "ssimulacra2_change", "bd_rate_ssimulacra2_percent"} <= found[-1].metrics.keys()


def test_errors_are_those_of_the_whole_pictures(lake: Image) -> None:
    original = np.ascontiguousarray(lake.pixels[:44, :60])  # no multiples of 8
    pairs = [Pair(original, original // 2), Pair(original, original)]
    with_network, without = errors(Kuchen(4), pairs)
    assert without == pytest.approx(np.square(original / 255 - (original // 2) / 255).mean() / 2) and with_network > 0


def test_steps_may_grow_at_a_constant_rate_alone(labels: Path, tmp_path: Path) -> None:
    """A cosine knows its end."""
    few, more = replace(TINY, steps=2), replace(TINY, steps=4)
    validations(task(labels, few), tmp_path / "constant")
    assert [state.step for state in validations(task(labels, more), tmp_path / "constant", resume=True)] == [4]
    validations(task(labels, replace(few, schedule="cosine")), tmp_path / "cosine")
    with pytest.raises(UsageError, match=r"--resume: steps was 2 before and is 4 now"):
        validations(task(labels, replace(more, schedule="cosine")), tmp_path / "cosine", resume=True)


def test_states_of_before_hold_the_network_alone() -> None:
    network, module = Kuchen(4), KuchenLoss(Kuchen(4))
    module.load_state_dict(network.state_dict())
    assert all(torch.equal(value, module.network.state_dict()[name]) for name, value in network.state_dict().items())
    module.load_state_dict(KuchenLoss(network).state_dict())


@pytest.mark.slow
def test_from_labels_to_weights(labels: Path, tmp_path: Path) -> None:
    run = task(labels, replace(TINY, strength=0.9))
    events = trained(run, tmp_path / "checkpoints")
    found = of(Validation, events)
    card = exported(run, tmp_path / "checkpoints", events[-1], tmp_path / "small", "crops of a lake and of balloons")
    weights = weight_files.open_weights(tmp_path / "small.safetensors", "kuchen")
    assert weight_files.card(weights) == card
    assert weights.metadata["codec"] == card["codec"] == "jpeg"
    assert json.loads(weights.metadata["recipe"]) == card["recipe"] and card["recipe"]["steps"] == 40
    assert card["labels"]["sha256"] == digest(labels.read_bytes())
    assert sum(card["labels"]["winners"].values()) == 10
    kept, held_out = opened(labels).split(TINY.split)
    assert card["data"] == f"labels of {len(kept)} pictures, crops of a lake and of balloons"
    assert card["held_out_pictures"] == min(2, len(held_out))
    decisive = "size_at_equal_ssimulacra2_percent"
    best = min(found, key=lambda state: state.metrics[decisive] or 0)
    assert card["best_step"] == best.step and card["against_the_plain_codec"] == {
        name: value for name, value in best.metrics.items() if value is not None
    }
    tensors, expected = load_file(weights.path), load_file(best.checkpoint)
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    preprocessor = load("kuchen", device="cpu", weights=weights.path)
    assert preprocessor is not None and (preprocessor.name, preprocessor.strength) == ("small", 0.9)


def test_held_out_pictures_are_not_trained_on(labels: Path, tmp_path: Path) -> None:
    found = opened(labels)
    kept, held_out = found.split(TINY.split)
    assert not {row.sha256 for row in kept} & {row.sha256 for row in held_out}
    one = validations(task(labels, replace(TINY, steps=2)), tmp_path / "one")
    # What is trained on alone decides the weights.
    for row in held_out:
        place = labels.parent / row.label
        before = place.read_bytes()
        try:
            from labeling.tools import pixels, save

            save(255 - pixels(place), place)
            other = validations(task(labels, replace(TINY, steps=2)), tmp_path / row.path)
        finally:
            place.write_bytes(before)
        weights = [load_file(states[-1].checkpoint) for states in (one, other)]
        assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
