"""Tasks: losses that are least where nothing has changed, scores counted by hand, and models that do not fit."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from machine.tiny import SIDE, Classes, Means, Objects, Softmax, exported, graph, scripted
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.errors import InputError, UsageError, WeightsError
from kcompress.machine.average_precision import AveragePrecision, Boxes
from kcompress.machine.folders import class_folders
from kcompress.machine.input_transform import InputTransform
from kcompress.machine.model import Layout, LoadedModel, Model
from kcompress.machine.models import open_model
from kcompress.machine.tasks import Task, task

pytestmark = pytest.mark.usefixtures("one_thread")


def _model(module: nn.Module, size: tuple[int, int] | None = (SIDE, SIDE)) -> Model:
    """Of a module, without a file."""
    return Model("tiny", LoadedModel("tiny", module.eval(), lambda: ""), InputTransform(size))


@pytest.fixture
def pictures() -> Tensor:
    """Four, larger than the models want them, with large structures."""
    coarse = torch.rand(4, 3, 6, 8, generator=torch.Generator().manual_seed(2))
    return F.interpolate(coarse, (60, 80), mode="bilinear")


@pytest.fixture(params=["classification", "detection"])
def any_task(request: pytest.FixtureRequest) -> Task:
    """Each task that has a loss, with a tiny model."""
    return task(request.param, _model({"classification": Classes, "detection": Objects}[request.param]()))


def test_a_changed_picture_costs_more(any_task: Task, pictures: Tensor) -> None:
    targets = any_task.pseudo_labels(pictures)
    assert isinstance(targets, Tensor) and len(targets) == 4 and not targets.requires_grad
    changed = (pictures * 0.7 + 0.1).requires_grad_()
    same, other = any_task.loss(pictures, targets), any_task.loss(changed, targets)
    assert same.shape == other.shape == (4,) and (other > same).all() and (same >= 0).all()
    gradient = torch.autograd.grad(other.sum(), changed)[0]
    assert gradient.isfinite().all() and gradient.flatten(1).abs().amax(1).gt(0).all()


def test_following_the_gradient_leads_back_to_the_answer(any_task: Task, pictures: Tensor) -> None:
    targets = any_task.pseudo_labels(pictures)
    changed = (pictures * 0.7 + 0.1).requires_grad_()
    before = any_task.loss(changed, targets)
    optimizer = torch.optim.Adam([changed], lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        any_task.loss(changed, targets).sum().backward()
        optimizer.step()
    assert (any_task.loss(changed, targets) < before).all()


def test_each_picture_is_judged_alone(any_task: Task, pictures: Tensor) -> None:
    targets, changed = any_task.pseudo_labels(pictures), pictures.flip(3)
    together = any_task.loss(changed, targets)
    alone = [any_task.loss(changed[i : i + 1], targets[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(together, torch.cat(alone))
    alone = [any_task.score(any_task.judged(changed[i : i + 1], targets[i : i + 1])[0]) for i in range(4)]
    assert [any_task.score([each]) for each in any_task.judged(changed, targets)[0]] == alone


def test_outcomes_and_losses_come_from_one_run(any_task: Task, pictures: Tensor) -> None:
    targets, changed = any_task.pseudo_labels(pictures), (pictures * 0.7 + 0.1).requires_grad_()
    expected, runs, model = any_task.loss(changed, targets), [], any_task.model
    any_task.model = lambda shown: runs.append(len(shown)) or model(shown)
    any_task.model.size = model.size
    losses = any_task.judged(changed, targets)[1]
    assert losses is not None and torch.equal(losses, expected) and not losses.requires_grad
    assert runs == [4]


def test_an_untouched_picture_has_the_best_score(any_task: Task, pictures: Tensor) -> None:
    outcomes = any_task.judged(pictures, any_task.pseudo_labels(pictures))[0]
    assert any_task.score(outcomes) == 1.0 and any_task.score([]) is None


# Classification


def test_pictures_are_scaled_to_cover_and_the_middle_is_cut_out() -> None:
    resized = task("classification", _model(Means(), (20, 20))).resized
    ramp = torch.linspace(0, 1, 80).expand(1, 3, 40, 80)
    found = resized(ramp)
    assert found.shape == (1, 3, 20, 20) and resized(ramp.clone().requires_grad_()).requires_grad
    assert found[0, 0, 0, 0] == pytest.approx(0.25, abs=0.02) and found[0, 0, 0, -1] == pytest.approx(0.75, abs=0.02)
    tall = resized(ramp.transpose(2, 3))
    assert tall[0, 0, 0, 0] == pytest.approx(0.25, abs=0.02)
    assert resized(torch.rand(2, 3, 9, 7)).shape == (2, 3, 20, 20)
    same = torch.rand(1, 3, 20, 20)
    assert resized(same) is same
    assert task("classification", _model(Means(), None)).resized(ramp) is ramp


@pytest.mark.parametrize("width", [21, 33, 47, 1000])
def test_odd_sides_still_cover(width: int) -> None:
    resized = task("classification", _model(Means(), (21, 35))).resized
    assert resized(torch.rand(1, 3, 19, width)).shape == resized(torch.rand(1, 3, width, 19)).shape == (1, 3, 21, 35)


def test_labels() -> None:
    found = task("classification", _model(Means()), classes=range(3))
    pictures = torch.tensor([[0.9, 0.1, 0.2], [0.1, 0.2, 0.9]])[:, :, None, None].expand(2, 3, SIDE, SIDE)
    targets = found.class_targets([0, 1])
    assert targets.dtype == torch.int64
    assert found.judged(pictures, targets)[0] == [1.0, 0.0]
    expected = [math.log(sum(math.exp(v) for v in (0.9, 0.1, 0.2))) - each for each in (0.9, 0.2)]
    torch.testing.assert_close(found.loss(pictures, targets), torch.tensor(expected))
    for wrong in (3, -1):
        with pytest.raises(UsageError, match=rf"class number {wrong} is not one of the model tiny\. Allowed: 0\.\.2\."):
            found.class_targets([0, wrong])


def test_without_labels_the_models_own_answer_counts() -> None:
    found = task("classification", _model(Means()))
    original = torch.tensor([[0.9, 0.1, 0.2]])[:, :, None, None].expand(1, 3, SIDE, SIDE)
    targets = found.pseudo_labels(original)
    torch.testing.assert_close(targets, torch.tensor([[0.9, 0.1, 0.2]]).softmax(1))
    assert found.judged(original * 0.5, targets)[0] == [1.0] and found.judged(original.flip(1), targets)[0] == [0.0]


def test_probabilities_are_as_good_as_logits(pictures: Tensor) -> None:
    logits, shares = task("classification", _model(Classes())), task("classification", _model(Softmax()))
    targets = logits.pseudo_labels(pictures)
    torch.testing.assert_close(shares.pseudo_labels(pictures), targets)
    torch.testing.assert_close(shares.loss(pictures.flip(2), targets), logits.loss(pictures.flip(2), targets))


def test_a_graph_scores(pictures: Tensor, tmp_path: Path) -> None:
    found = task("classification", open_model(str(graph(tmp_path / "means.onnx", (1, 3, SIDE, SIDE), rows=(1, 3)))))
    assert found.judged(pictures, found.pseudo_labels(pictures))[0] == [1.0] * 4
    assert found.loss(pictures, found.pseudo_labels(pictures)).shape == (4,)


def test_as_many_labels_as_classes() -> None:
    with pytest.raises(UsageError, match=r"there are 43 labels, and the model tiny knows 5 classes\. Take a model"):
        task("classification", _model(Classes()), classes=range(43))


def test_an_output_that_is_none_of_a_classifier(tmp_path: Path) -> None:
    path = exported(Objects(), tmp_path / "objects.pt2")
    with pytest.raises(WeightsError, match=r"shape \(2, 8, 6, 6\) for 2 pictures\. The task classification needs \(p"):
        task("classification", open_model(str(path)))


def test_a_class_is_the_last_folder() -> None:
    classes, labels = class_folders(["train/b/1.png", "a/2.png", "val/b/3.png", "B/4.png"])
    assert classes == ["B", "a", "b"]
    assert labels == {"train/b/1.png": 2, "a/2.png": 1, "val/b/3.png": 2, "B/4.png": 0}
    with pytest.raises(
        InputError, match=r"labels were asked for, and 2\.png \(1 of 2 pictures\) lies in no folder\. Pu"
    ):
        class_folders(["a/1.png", "2.png"])
    with pytest.raises(InputError, match=r"there is 1 class \(a\)\. Put pictures into one folder a class"):
        class_folders(["a/1.png"])


# Detection


class _Fixed(nn.Module):
    """Says the same of every picture."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        return self.output.expand(len(x), -1, -1, -1)


def _sees(*objects: tuple[int, int, int]) -> Tensor:
    """Output of FastestDet's form, 4x4 places, 3 classes: a box of a tenth of the sides at (row, column) of a class."""
    output = torch.zeros(1, 8, 4, 4)
    output[:, 3:5] = math.log(0.1 / 0.9)
    output[:, 5] = 1
    for row, column, kind in objects:
        output[0, 0, row, column] = 0.9
        output[0, 5:, row, column] = F.one_hot(torch.tensor(kind), 3)
    return output


def _score(told: Tensor, true: Tensor) -> float | None:
    judge = task("detection", _model(_Fixed(told)))
    (outcome,) = judge.judged(torch.rand(1, 3, SIDE, SIDE), true)[0]
    average = AveragePrecision([outcome])()
    return None if judge.score([outcome]) is None else float(average[0])


def test_scores_of_detections() -> None:
    two = _sees((0, 0, 1), (2, 2, 1))
    assert _score(two, two) == 1.0
    assert _score(_sees((0, 0, 1)), two) == pytest.approx(51 / 101), "one was lost"
    assert _score(_sees((0, 0, 2), (2, 2, 1)), two) == pytest.approx(51 / 101), "one became something else"
    assert _score(_sees(), two) == 0.0
    assert _score(two, _sees()) is None, "there was nothing to see"
    assert _score(_sees((0, 0, 1), (2, 2, 1), (3, 0, 2)), two) == 1.0, "a class that the original does not have"
    assert _score(_sees((0, 0, 1)), _sees((0, 0, 1), (1, 1, 2), (2, 2, 0))) == pytest.approx(1 / 3), "mean over classes"


def test_loss_of_detections_by_hand() -> None:
    """One object of 16 places, less sure than it was: weights are 0.95 for it and 0.05 for each of the others."""
    true = _sees((1, 1, 2))
    told = true.clone()
    told[0, 0, 1, 1] = 0.5
    found = task("detection", _model(_Fixed(told))).loss(torch.rand(1, 3, SIDE, SIDE), true)
    divergence = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert found.item() == pytest.approx(0.95 * divergence / (0.95 + 15 * 0.05), rel=1e-4)


def test_boxes_and_classes_count_where_something_is() -> None:
    true = _sees((1, 1, 2))
    for row, expected in ((1, True), (3, False)):
        moved, renamed = true.clone(), true.clone()
        moved[0, 1, row, 1] = 0.3
        renamed[0, 5:, row, 1] = torch.tensor([0.3, 0.3, 0.4])
        for told in (moved, renamed):
            loss = task("detection", _model(_Fixed(told))).loss(torch.rand(1, 3, SIDE, SIDE), true)
            assert (loss.item() > 0.1) is expected and (loss.item() < 1e-5) is not expected


def test_pictures_are_stretched_for_detection() -> None:
    found = task("detection", _model(Objects(), (20, 28))).resized(torch.linspace(0, 1, 80).expand(1, 3, 40, 80))
    assert found.shape == (1, 3, 20, 28)
    assert found[0, 0, 0, 0] < 0.03 and found[0, 0, 0, -1] > 0.97


def test_detection_has_no_classes_to_train_on() -> None:
    with pytest.raises(UsageError, match=r"the task detection has no --labels\. Take the task classification"):
        task("detection", _model(Objects())).class_targets([1])


def test_boxes_of_labels_are_the_truth() -> None:
    """Classes of the model are the categories in their order, whatever their numbers."""
    two = _sees((0, 0, 1), (2, 2, 2))
    own = task("detection", _model(_Fixed(two)))
    labelled = task("detection", _model(_Fixed(two)), classes=(1, 18, 90))
    pictures = torch.rand(1, 3, SIDE, SIDE)
    assert own.score(own.judged(pictures, two)[0]) == 1.0
    box = [[-0.05, -0.05, 0.05, 0.05]]
    for kind, expected in ((18, 1.0), (90, 0.0), (1, 0.0)):
        truth = Boxes(np.array(box), np.array([kind]), np.zeros(1), np.zeros(1, dtype=bool))
        assert labelled.score(labelled.judged(pictures, two, [truth])[0]) == expected
    with pytest.raises(UsageError, match=r"there are 80 categories, and the model tiny knows 3 classes\. Take a model"):
        task("detection", _model(Objects()), classes=range(80))


def test_boxes_after_suppression_have_numbers_of_categories_and_no_loss() -> None:
    rows = torch.tensor([[[6.0, 6, 12, 12, 0.9, 18], [6, 6, 12, 12, 0.8, 18]]])
    model = Model(
        "tiny", LoadedModel("tiny", lambda x: rows.expand(len(x), -1, -1), lambda: "", layout=Layout.BOXES),
        InputTransform((SIDE, SIDE)),
    )  # fmt: skip
    found = task("detection", model, classes=(1, 18, 90))
    assert not found.trainable
    pictures = torch.rand(1, 3, SIDE, SIDE)
    truth = Boxes(np.array([[0.25, 0.25, 0.5, 0.5]]), np.array([18]), np.zeros(1), np.zeros(1, dtype=bool))
    (outcome,) = found.judged(pictures, found.pseudo_labels(pictures), [truth])[0]
    assert found.score([outcome]) == 1.0 and len(outcome.scores) == 2, "nothing is suppressed again"


def test_an_output_that_is_none_of_a_detector(tmp_path: Path) -> None:
    message = r"The task detection needs one of these: \(N, 5 \+ classes, h, w\) as FastestDet gives it; "
    with pytest.raises(WeightsError, match=rf"shape \(2, 5\) for 2 pictures\. {message}"):
        task("detection", open_model(str(scripted(Classes(), tmp_path / "classes.pt"))))
    with pytest.raises(WeightsError, match=message):  # channels enough, and no probabilities among them
        task("detection", _model(nn.Conv2d(3, 8, 4, 4)))


def test_an_unknown_task() -> None:
    with pytest.raises(UsageError, match=r"the task drawing is not known\. Allowed: classification, detection, text\."):
        task("drawing", _model(Means()))
