"""Every training on a GPU: a few steps, with losses near the CPU's, and going on as if nothing had happened."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from labeling.tools import save
from safetensors.torch import load_file
from tiny_weights import write_classifier
from training import test_ar, test_tables, test_vqscore
from training.test_tables import _few as _few
from training.toy import ToyRecipe, ToyTask, of, stopped, trained

from kcompress.dataset import DataSet
from kcompress.images import Image
from kcompress.machine.models import open_model
from kcompress.machine.tasks import task as machine_task
from kcompress.proxies.choice import FrozenProxy
from kcompress.proxies.simulator import Simulator
from kcompress.training.events import Step, Validation
from kcompress.training.tasks.ar.patches import hevc_bank
from kcompress.training.tasks.artefacts.recipe import ArtefactsRecipe
from kcompress.training.tasks.artefacts.task import ArtefactsTask
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


@pytest.fixture(scope="module")
def larger(lake: Image, tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Six overlapping crops of 192x176 pixels, which hold patches that all scores take."""
    folder = tmp_path_factory.mktemp("larger")
    for number in range(6):
        save(lake.pixels[20 * number : 20 * number + 176, 30 * number : 30 * number + 192], folder / f"{number}.png")
    return DataSet(str(folder))


def rdo(photos: DataSet, objective: dict[str, float], side: int = 96) -> RdoTask:
    few = RdoRecipe(width=16, depth=1, batch=4, patches=8, side=side, objective=objective, **FEW)
    return RdoTask(photos, few)


def ar(lake: Image) -> test_ar.OnPixels:
    recipe = replace(test_ar.TINY, steps=4, warmup=1, validate_every=2)
    pixels = np.ascontiguousarray(lake.pixels[60:360, 200:520])
    bank = hevc_bank([pixels], recipe)
    return test_ar.OnPixels(Path(), recipe, test_ar.prepared([pixels], bank, [pixels[:96, :96]]))


def vqscore() -> test_vqscore.OnRegions:
    recipe = replace(test_vqscore.TINY, steps=4, warmup=1, validate_every=2)
    return test_vqscore.OnRegions(Path(), recipe, Path(), data=test_vqscore.eight_regions(), validation=(0, 1))


def npp(classes: DataSet, folder: Path, device: str) -> NppTask:
    recipe = NppRecipe(
        "classification", "tiny", True, "jpeg", 45, 20, 33, width=4, side=32, batch=2, fixed_steps=2, adaptive_steps=2,
        **{name: value for name, value in FEW.items() if name != "steps"},
    )  # fmt: skip
    torch.manual_seed(0)
    proxy = Simulator(8, 1).eval().requires_grad_(False).to(device)
    model = open_model(str(write_classifier(folder / "tiny.safetensors")), device)
    return NppTask(classes, recipe, judges=(machine_task("classification", model, range(2)),), proxy=proxy)


def artefacts(photos: DataSet, through: str, device: str) -> ArtefactsTask:
    recipe = ArtefactsRecipe(
        "jpeg", 30, 92, 8.0, 1.0, through, width=8, depth=1, batch=2, patches=4, side=96, objective={"psnr": 1.0}, **FEW
    )
    torch.manual_seed(0)
    proxy = Simulator(8, 1).eval().requires_grad_(False).to(device)
    return ArtefactsTask(photos, recipe, proxy=None if through == "exact" else proxy)


@pytest.mark.parametrize("name", [
    "rdo ssimulacra2", "rdo butteraugli", "rdo psnr-hvs-m", "rdo vif", "all six of rdo", "ar", "vqscore", "feedback",
    "artefacts simulator", "artefacts real", "artefacts exact", "simulator", "minnen", "classifier", "npp", "kuchen",
])  # fmt: skip
def test_losses_are_near_the_cpus(
    photos: DataSet, larger: DataSet, classes: DataSet, labels: Path, lake: Image, tmp_path: Path, name: str
) -> None:
    kind, _, score = name.partition(" ")
    tasks: dict[str, Callable[[str], Any]] = {
        "rdo": lambda device: rdo(photos, {score: 1.0}),
        "all": lambda device: rdo(larger, dict(RdoRecipe().objective), 176),
        "ar": lambda device: ar(lake),
        "vqscore": lambda device: vqscore(),
        "feedback": lambda device: FeedbackTask(
            photos,
            FeedbackRecipe("webp", 40, 80, passes=2, batch=2, patches=3, side=96, objective={"psnr": 1.0}, **FEW),
        ),
        "artefacts": lambda device: artefacts(photos, score, device),
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
    near = {"rdo": 0.5, "all": 0.5, "vqscore": 0.3, "minnen": 0.5, "classifier": 0.5}.get(kind, 0.05)
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


def test_what_npp_draws_goes_on_there(classes: DataSet, tmp_path: Path) -> None:
    """Sharpened pictures, views and samples: an interrupted training takes the steps of one that was not."""
    plain = npp(classes, tmp_path, "cuda")
    recipe = replace(plain.recipe, values="proxy", augment=True, sampled=True, validate_every=4)
    task = replace(plain, recipe=recipe, proxy=FrozenProxy(plain.proxy, "simulator"))  # type: ignore[arg-type]
    whole = trained(task, tmp_path / "whole", device="cuda")
    stopped(task, tmp_path / "parts", 3, device="cuda")
    rest = trained(task, tmp_path / "parts", resume=True, device="cuda")
    assert [s.loss for s in of(Step, rest)] == pytest.approx([s.loss for s in of(Step, whole)[2:]], rel=1e-3)
    assert rest[-1].entries[-1].step == 4


@pytest.mark.usefixtures("_few")
def test_tables_cost_what_they_cost_on_the_cpu(photos: DataSet, tmp_path: Path) -> None:
    recipe = replace(test_tables.TINY, steps=1)
    events = {
        device: list(replace(test_tables.search(photos, tmp_path / device, recipe), device=device).run())
        for device in ("cpu", "cuda:0")
    }
    on_cpu, on_cuda = ([step.loss for step in of(Step, some)] for some in events.values())
    assert on_cuda == pytest.approx(on_cpu, abs=0.002)
    one, two = (some[-1].data.nodes for some in events.values())
    assert one.keys() == two.keys() and all(np.allclose(one[quality], two[quality], atol=0.05) for quality in one)
