"""From labels to weights that encode uses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from kcompress.dataset import digest
from kcompress.errors import InputError, OutputError
from kcompress.inference import weights as weight_files
from kcompress.networks.loading import load
from kcompress.training.kuchen import Training
from kcompress.training.labelled import opened
from kcompress.training.loop import Validation
from kcompress.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = Recipe(
    width=4, steps=40, patch_width=32, patch_height=24, stride=16, learning_rate=3e-3, validate_every=20,
    validation_pictures=2,
)  # fmt: skip


def training(labels: Path, folder: Path, recipe: Recipe = TINY) -> Training:
    return Training(opened(labels), recipe, folder, Accelerator(cpu=True))


def states(run: Training, *, resume: bool = False) -> list[Validation]:
    return [event for event in run.run(resume=resume) if isinstance(event, Validation)]


def test_the_network_comes_nearer_to_the_labels(labels: Path, tmp_path: Path) -> None:
    found = states(training(labels, tmp_path, replace(TINY, steps=120, validate_every=60)))
    assert found[-1].error < 0.9 * found[-1].identity_error and found[-1].loss < found[0].loss
    assert (tmp_path / "log.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    assert {"size_change_percent", "ssimulacra2_change", "bd_rate_ssimulacra2_percent"} <= found[-1].figures.keys()


def test_another_training_is_not_overwritten(labels: Path, tmp_path: Path) -> None:
    states(training(labels, tmp_path, replace(TINY, steps=2)))
    with pytest.raises(OutputError, match=r"holds a training. Give --resume"):
        states(training(labels, tmp_path, replace(TINY, steps=2)))
    again = training(labels, tmp_path, replace(TINY, steps=2))
    assert states(again, resume=True) == [] and len(again.entries) == 1


def test_without_a_validation_there_is_nothing_to_export(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no checkpoint yet"):
        training(labels, tmp_path).export(tmp_path / "small", "")


@pytest.mark.slow
def test_from_labels_to_weights(labels: Path, tmp_path: Path) -> None:
    run = training(labels, tmp_path / "checkpoints")
    found = states(run)
    card = run.export(tmp_path / "small", "crops of a lake and of balloons")
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
    best = min(found, key=lambda state: state.figures[decisive] or 0)
    assert card["best_step"] == best.step and card["against_the_plain_codec"] == {
        name: value for name, value in best.figures.items() if value is not None
    }
    tensors, expected = load_file(weights.path), load_file(best.checkpoint)
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    preprocessor = load("kuchen", device="cpu", weights=weights.path)
    assert preprocessor is not None and preprocessor.name == "small"


def test_held_out_pictures_are_not_trained_on(labels: Path, tmp_path: Path) -> None:
    found = opened(labels)
    kept, held_out = found.split(TINY.split)
    assert not {row.sha256 for row in kept} & {row.sha256 for row in held_out}
    one = states(training(labels, tmp_path / "one", replace(TINY, steps=2)))
    # What is trained on alone decides the weights.
    for row in held_out:
        place = labels.parent / row.label
        before = place.read_bytes()
        try:
            from labeling.tools import pixels, save

            save(255 - pixels(place), place)
            other = states(training(labels, tmp_path / row.path, replace(TINY, steps=2)))
        finally:
            place.write_bytes(before)
        weights = [load_file(states_[-1].checkpoint) for states_ in (one, other)]
        assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
