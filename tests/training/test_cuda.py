"""Every training on a GPU: a few steps, with losses near the CPU's, and going on as if nothing had happened."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from labeling.tools import save
from safetensors.torch import load_file
from tiny_weights import write_classifier
from training.toy import ToyRecipe, ToyTask, of, stopped, trained

from kcompress.dataset import DataSet
from kcompress.images import Image
from kcompress.machine.models import open_model
from kcompress.machine.tasks import task as machine_task
from kcompress.proxies.simulator import Simulator
from kcompress.training.events import Step, Validation
from kcompress.training.tasks.classifier.recipe import ClassifierRecipe
from kcompress.training.tasks.classifier.task import ClassifierTask
from kcompress.training.tasks.feedback.recipe import FeedbackRecipe
from kcompress.training.tasks.feedback.task import FeedbackTask
from kcompress.training.tasks.kuchen.labelled import opened
from kcompress.training.tasks.kuchen.recipe import KuchenRecipe
from kcompress.training.tasks.kuchen.task import KuchenTask
from kcompress.training.tasks.npp.recipe import NppRecipe
from kcompress.training.tasks.npp.task import NppTask
from kcompress.training.tasks.proxies.minnen import MinnenTask
from kcompress.training.tasks.proxies.recipe import MinnenRecipe, SimulatorRecipe
from kcompress.training.tasks.proxies.simulator import SimulatorTask
from kcompress.training.tasks.rdo.recipe import RdoRecipe
from kcompress.training.tasks.rdo.task import RdoTask

pytestmark = [
    pytest.mark.usefixtures("one_thread", "fresh_device"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]
FEW = {"steps": 4, "warmup": 1, "validate_every": 2, "validation_pictures": 1, "split": 0.6}


@pytest.fixture
def fresh_device() -> Iterator[None]:
    """accelerate keeps the device of its first use."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def classes(lake: Image, balloons: Image, tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Six crops in each of two classes."""
    folder = tmp_path_factory.mktemp("classes")
    for name, image in (("lake", lake), ("balloons", balloons)):
        for number in range(6):
            crop = image.pixels[12 * number : 12 * number + 40, 9 * number : 9 * number + 48]
            save(np.ascontiguousarray(crop), folder / name / f"{number}.png")
    return DataSet(str(folder))


def rdo(photos: DataSet, score: str) -> RdoTask:
    few = RdoRecipe(width=16, depth=1, batch=4, patches=8, side=96, objective={score: 1.0}, **FEW)
    return RdoTask(photos, few)


def npp(classes: DataSet, folder: Path, device: str) -> NppTask:
    recipe = NppRecipe(
        "classification", "tiny", True, "jpeg", 45, 20, 33, width=4, side=32, batch=2, fixed_steps=2, adaptive_steps=2,
        **{name: value for name, value in FEW.items() if name != "steps"},
    )  # fmt: skip
    torch.manual_seed(0)
    proxy = Simulator(8, 1).eval().requires_grad_(False).to(device)
    model = open_model(str(write_classifier(folder / "tiny.safetensors")), device)
    return NppTask(classes, recipe, task=machine_task("classification", model, 2), proxy=proxy)


@pytest.mark.parametrize("name", [
    "rdo ssimulacra2", "rdo butteraugli", "rdo psnr-hvs-m", "rdo vif", "feedback", "simulator", "minnen", "classifier",
    "npp", "kuchen",
])  # fmt: skip
def test_losses_are_near_the_cpus(photos: DataSet, classes: DataSet, labels: Path, tmp_path: Path, name: str) -> None:
    kind, _, score = name.partition(" ")
    tasks: dict[str, Callable[[str], Any]] = {
        "rdo": lambda device: rdo(photos, score),
        "feedback": lambda device: FeedbackTask(
            photos,
            FeedbackRecipe("webp", 40, 80, passes=2, batch=2, patches=3, side=96, objective={"psnr": 1.0}, **FEW),
        ),
        "simulator": lambda device: SimulatorTask(
            photos, SimulatorRecipe("jpeg", 20, 97, width=16, depth=1, batch=3, versions=2, patches=8, side=64, **FEW)
        ),
        "minnen": lambda device: MinnenTask(
            photos,
            MinnenRecipe(
                "jpeg", 20, 97, width=6, latent=12, batch=3, versions=2, patches=8, side=64, mimic_from=0.5, **FEW
            ),
        ),
        "classifier": lambda device: ClassifierTask(classes, ClassifierRecipe(width=4, side=32, batch=4, **FEW)),
        "npp": lambda device: npp(classes, tmp_path, device),
        "kuchen": lambda device: KuchenTask(
            opened(labels),
            KuchenRecipe(
                width=4, steps=4, patch_width=32, patch_height=24, stride=16, validate_every=2, validation_pictures=1
            ),
        ),
    }
    events = {}
    for device in ("cpu", "cuda"):
        AcceleratorState._reset_state(reset_partial_state=True)
        events[device] = trained(tasks[kind](device), tmp_path / device, device=device)
    losses = {device: [step.loss for step in of(Step, found)] for device, found in events.items()}
    # Noise (decisions, dropout) is drawn by another generator there, and bfloat16 rounds.
    near = {"rdo": 0.5, "minnen": 0.5, "classifier": 0.5}.get(kind, 0.05)
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=near, abs=near)
    states = of(Validation, events["cuda"])
    assert [state.step for state in states] == [2, 4]
    assert all(value is None or math.isfinite(value) for state in states for value in state.metrics.values())
    state = torch.load(tmp_path / "cuda/state.pt", map_location="cpu", weights_only=True)
    assert "random_cuda" in state


def test_it_runs_on_the_gpu_and_goes_on_there(tmp_path: Path) -> None:
    """With the same noise: the GPU's generator is kept, too."""
    devices = set()

    def distance(module: Any) -> float:
        devices.add(module.line.weight.device.type)
        return 0.0

    task = ToyTask(ToyRecipe(noise=0.5, steps=8), distance)
    whole = trained(task, tmp_path / "whole", device="cuda")
    stopped(task, tmp_path / "parts", 5, device="cuda")
    rest = trained(task, tmp_path / "parts", resume=True, device="cuda")
    assert devices == {"cuda"} and [step.number for step in of(Step, rest)] == [5, 6, 7, 8]
    assert [s.loss for s in of(Step, rest)] == pytest.approx([s.loss for s in of(Step, whole)[4:]], rel=1e-5)


def test_a_gpu_goes_on_with_a_state_of_the_cpu(tmp_path: Path) -> None:
    task = ToyTask(ToyRecipe(steps=8))
    whole = trained(task, tmp_path / "whole")
    stopped(task, tmp_path / "parts", 5)
    AcceleratorState._reset_state(reset_partial_state=True)
    rest = trained(task, tmp_path / "parts", resume=True, device="cuda")
    assert [step.number for step in of(Step, rest)] == [5, 6, 7, 8]
    assert [s.loss for s in of(Step, rest)] == pytest.approx([s.loss for s in of(Step, whole)[4:]], rel=1e-4)
    one, two = (load_file(tmp_path / place / "step-000008.safetensors") for place in ("whole", "parts"))
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)
