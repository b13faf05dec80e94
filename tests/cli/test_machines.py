"""``--network npp`` in encode, ``--task`` in bench, ``train --network npp``, ``classifier`` and ``minnen``."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pytest
import torch
from labeling.tools import save
from machine.tiny import Objects, exported
from pictures import load
from safetensors.torch import load_file
from tiny_weights import write_classifier, write_npp

from kcompress.training import trainer
from kcompress.training.tasks.proxies import task as proxies

pytestmark = pytest.mark.usefixtures("one_thread")
IMAGES = Path(__file__).parents[1] / "images"


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    """photos/CLASS/ with six crops in each of two classes, npp.safetensors, tiny.safetensors and other.safetensors."""
    place = tmp_path_factory.mktemp("kit")
    for name, file in (("lake", "lake.png"), ("balloons", "balloons-333x217.png")):
        pixels = load(file).pixels
        for number in range(6):
            crop = pixels[12 * number : 12 * number + 40, 9 * number : 9 * number + 48]
            save(np.ascontiguousarray(crop), place / f"photos/{name}/{number}.png")
    write_npp(place / "npp.safetensors", width=4)
    write_classifier(place / "tiny.safetensors")
    write_classifier(place / "three.safetensors", classes=3)
    return place


@pytest.fixture
def ready(kit, folder):
    shutil.copytree(kit, folder, dirs_exist_ok=True)
    return folder


@pytest.mark.parametrize("codec", ["jpeg", "webp", "hevc", "bpg", "avif"])
def test_encode_for_machines_with_every_codec(run, ready, codec) -> None:
    options = ["photos/lake/0.png", "--codec", codec, "--json", "--force"]
    (plain,) = run("encode", *options, "--network", "none", "-o", "plain").lines
    (ours,) = run("encode", *options, "--network", "npp", "--task-weights", "npp.safetensors", "-o", "ours").lines
    assert ours["network"] == "npp"
    assert Path(ready / ours["output"]).read_bytes() != Path(ready / plain["output"]).read_bytes()
    told = " ".join(ours["notes"])
    assert ("not for" in told or "finer" in told) == (codec != "bpg")


@pytest.mark.parametrize("weights", ["grocery", "imagenet"])
def test_the_weights_that_came_along(run, ready, weights) -> None:
    options = ["photos/lake/0.png", "--codec", "bpg", "-q", "44"]
    asked = ["--network", "npp", "--task-weights", weights]
    (line,) = run("encode", *options, *asked, "-o", "small.bpg", "--json").lines
    assert line["network"] == f"npp-{weights}" and line["notes"] == []
    (plain,) = run("encode", *options, "--network", "none", "-o", "plain.bpg", "--json").lines
    assert Path(ready / line["output"]).read_bytes() != Path(ready / plain["output"]).read_bytes()


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("--network", "npp"), "--task-weights says which"),
     (("--network", "npp", "--task-weights", "juggling"), "--task-weights juggling is not known"),
     (("--network", "shrink", "--task-weights", "npp.safetensors"), "has no meaning for --network shrink"),
     (("--network", "npp", "--task-weights", "npp.safetensors", "--weights", "npp.safetensors"), "exclude each other"),
     (("--network", "npp", "--task-weights", "tiny.safetensors"), "are classifier weights; npp was asked for"),
     (("--network", "npp", "--task-weights", "none.safetensors"), "do not exist")],
)  # fmt: skip
def test_encode_refuses(run, ready, options, reason) -> None:
    ended = run(
        "encode",
        "photos/lake/0.png",
        *options,
        expect=9 if ".safetensors" in options[-1] and len(options) == 4 and options[1] == "npp" else 2,
    )
    assert reason in ended.stderr


BENCH = ["--codec", "jpeg", "--quality", "5,15,30,60", "--metric", "psnr", "--network", "none,npp",
         "--task-weights", "npp.safetensors", "--jobs", "1"]  # fmt: skip


def test_bench_lets_models_judge(run, ready) -> None:
    models = ["--task", "classification", "--labels", "--model", "tiny.safetensors"]
    run("bench", "photos", "-o", "report", *BENCH, *models)
    with (ready / "report/points.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["tiny"] for row in rows} <= {"0.0", "1.0"} and all(float(row["tiny loss"]) > 0 for row in rows)
    (entry,) = json.loads((ready / "report/summary.json").read_text())["machines"]
    assert entry["machine"] == "tiny" and entry["labelled"] and entry["pictures"] == 12
    assert "judged by labels" in (ready / "report/report.md").read_text()
    ended = run("bench", "photos", "-o", "report", *BENCH, *models[:2], *models[3:], "--resume", expect=2)
    assert "weights, tables or use of tiny are others than before" in ended.stderr
    assert "For machines" in (ready / "report/report.html").read_text()
    shutil.copy(ready / "three.safetensors", ready / "other.safetensors")
    run("bench", "photos", "-o", "own", *BENCH, "--task", "classification", "--model", "tiny.safetensors",
        "--model", "other.safetensors", "--pictures", "3")  # fmt: skip
    entries = json.loads((ready / "own/summary.json").read_text())["machines"]
    assert [entry["machine"] for entry in entries] == ["tiny", "other"]
    assert all(entry["pictures"] == 3 and not entry["labelled"] for entry in entries)
    assert "own answers" in (ready / "own/report.md").read_text()


def test_bench_pools_detections(run, ready) -> None:
    exported(Objects(), ready / "objects.pt2", (2, 3, 40, 48))
    names = [f"{kind}/{number}.png" for kind in ("balloons", "lake") for number in range(6)]
    truth = {
        "images": [{"id": number, "file_name": name, "width": 48, "height": 40} for number, name in enumerate(names)],
        "annotations": [{"image_id": number, "category_id": 18, "bbox": [0, 0, 24, 20]} for number in range(12)],
        "categories": [{"id": number} for number in (3, 18, 90)],
    }
    (ready / "boxes.json").write_text(json.dumps(truth))
    models = ["--task", "detection", "--model", "objects.pt2"]
    run("bench", "photos", "-o", "own", *BENCH, *models)
    run("bench", "photos", "-o", "labelled", *BENCH, *models, "--annotations", "boxes.json")
    for place, labelled in (("own", False), ("labelled", True)):
        (entry,) = json.loads((ready / place / "summary.json").read_text())["machines"]
        assert entry["pictures"] == 12 and entry["labelled"] is labelled
        assert set(entry["bd_rate_percent"]) == {"score", "ap50", "loss"}
    before = (ready / "own/points.csv").read_bytes()
    assert b"objects matches" in before
    run("bench", "photos", "-o", "own", *BENCH, *models, "--resume")
    assert (ready / "own/points.csv").read_bytes() == before
    truth["images"].pop()
    (ready / "boxes.json").write_text(json.dumps(truth))
    ended = run("bench", "photos", *BENCH, *models, "--annotations", "boxes.json", expect=3)
    assert "boxes.json is no file of COCO" in ended.stderr
    truth["annotations"].pop()
    (ready / "boxes.json").write_text(json.dumps(truth))
    ended = run("bench", "photos", *BENCH, *models, "--annotations", "boxes.json", expect=3)
    assert "boxes.json does not have the picture lake/5.png" in ended.stderr


def test_bench_reads(run, ready) -> None:
    pytest.importorskip("rapidocr")
    (ready / "pages").mkdir()
    texts = {"a.png": "Parking", "b.png": "Exit 24"}
    for name, text in texts.items():
        drawn = PIL.Image.new("RGB", (160, 56), "white")
        PIL.ImageDraw.Draw(drawn).text((14, 12), text, fill="black", font=PIL.ImageFont.load_default(28))
        drawn.save(ready / "pages" / name)
    (ready / "texts.json").write_text(json.dumps(texts))
    options = ["--codec", "webp", "-q", "30,60", "--network", "shrink", "--metric", "psnr", "--jobs", "1", "--task",
               "text", "--model", "rapidocr"]  # fmt: skip
    run("bench", "pages", "-o", "read", *options, "--annotations", "texts.json")
    (entry,) = json.loads((ready / "read/summary.json").read_text())["machines"]
    assert entry["pictures"] == 2 and entry["labelled"] and set(entry["bd_rate_percent"]) == {"score"}
    assert all(row["score"][0] > 0.8 for row in entry["curves"])
    assert "task text, judged by labels" in (ready / "read/report.md").read_text()
    (ready / "texts.json").write_text(json.dumps({"a.png": "Parking"}))
    ended = run("bench", "pages", *options, "--annotations", "texts.json", expect=3)
    assert "texts.json does not have the picture b.png" in ended.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("--model", "tiny.safetensors"), "--model needs a --task"),
     (("--labels",), "--labels needs a --task"),
     (("--task", "classification"), "--task classification needs a --model"),
     (("--task", "juggling", "--model", "tiny.safetensors"), "the task juggling is not known"),
     (("--task", "detection", "--model", "tiny.safetensors"), "as FastestDet"),
     (("--task", "detection", "--model", "tiny.safetensors", "--labels"), "has no --labels"),
     (("--annotations", "boxes.json"), "--annotations needs a --task"),
     (("--task", "classification", "--model", "tiny.safetensors", "--annotations", "boxes.json"), "has no meaning for"),
     (("--task", "classification", "--labels", "--model", "three.safetensors"), "there are 2 labels"),
     (("--task", "classification", "--model", "tiny.safetensors", "--model", "tiny.safetensors"), "is there already"),
     (("--task", "classification", "--model", "gone.pt2"), "gone.pt2")],
)  # fmt: skip
def test_bench_refuses(run, ready, options, reason) -> None:
    ended = run("bench", "photos", *BENCH, *options, expect=9 if reason in ("gone.pt2", "as FastestDet") else 2)
    assert reason in ended.stderr
    assert not (ready / "report/points.csv").exists()


def test_labels_want_folders(run, ready) -> None:
    shutil.copy(ready / "photos/lake/0.png", ready / "photos/loose.png")
    ended = run("bench", "photos", *BENCH, "--task", "classification", "--labels", "--model", "tiny.safetensors",
                expect=3)  # fmt: skip
    assert "lies in no folder" in ended.stderr


def test_task_weights_want_npp(run, ready) -> None:
    ended = run("bench", "photos", "--codec", "jpeg", "--network", "shrink", "--task-weights", "npp.safetensors",
                expect=2)  # fmt: skip
    assert "without npp among --network" in ended.stderr


TRAIN = ["--network", "npp", "--model", "tiny.safetensors:size=32", "--codec", "jpeg", "--proxy", "simulator",
         "--labels", "--width", "2", "--steps", "2", "--fixed-steps", "2", "--batch", "2", "--validate", "2",
         "--pictures", "2", "--split", "0.6", "--jobs", "1", "-o", "out/npp"]  # fmt: skip


@pytest.fixture
def train(run, ready, monkeypatch):
    """Without the export, which takes seconds; later options win, and a ``--model`` is one more."""
    monkeypatch.setattr(trainer, "publish", lambda stem, card, *_: dict(card))
    return lambda *options, **more: run("train", "photos", *TRAIN, *options, **more)


def weights(folder, place):
    return load_file(folder / place / "step-000004.safetensors")


@pytest.fixture(scope="module")
def usual():
    """What the training without further options gives, once it has been asked for: weights and recipe."""
    return {}


@pytest.mark.parametrize(
    ("options", "field"),
    [(("--lambda", "2"), "finest_weight"), (("--forward", "proxy"), "values"), (("--augment",), "augment"),
     (("--proxy", "minnen.safetensors"), "proxy"), (("--model", "tiny.safetensors:size=32,order=bgr"), "model")],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_options_change_the_weights(train, ready, proxy, usual, options, field) -> None:
    def trained(place, *options):
        (line,) = train("--checkpoints", place, "--json", "--lr", "0.003", *options).lines
        return {"weights": weights(ready, place), "recipe": line["card"]["recipe"]}

    if not usual:
        usual.update(trained("usual"))
    other = trained("other", *options)
    assert any(not torch.equal(usual["weights"][name], other["weights"][name]) for name in usual["weights"])
    assert usual["recipe"][field] != other["recipe"][field]
    assert other["recipe"]["sampled"] is (options == ("--forward", "proxy")), "samples of a simulator alone"


def test_other_proxies_have_no_samples(train, proxy) -> None:
    (line,) = train("--forward", "proxy", "--proxy", "minnen.safetensors", "--json").lines
    assert line["card"]["recipe"]["sampled"] is False


def test_a_start_from_other_weights(train, ready) -> None:
    start = ("--start", "npp.safetensors", "--width", "4")
    (line,) = train("--json", "--lr", "1e-9", *start, "--checkpoints", "started").lines
    found, expected = weights(ready, "started"), load_file(ready / "npp.safetensors")
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
    assert line["card"]["recipe"]["start"].startswith("npp ")
    assert "Give --width 4" in train("--start", "npp.safetensors", "--checkpoints", "wide", expect=2).stderr


def test_patches_of_another_size(train, ready) -> None:
    write_classifier(ready / "tiny.safetensors", side=40)
    (line,) = train("--json", "--lr", "0.003", "--patch", "40x40", "--model", "tiny.safetensors").lines
    assert line["card"]["recipe"]["side"] == 40


def test_effort_is_that_of_the_encoder(train, ready) -> None:
    for effort in ("0", "6"):
        train("--codec", "webp", "--effort", effort, "--checkpoints", effort, "--lr", "0.003")
    one, other = (weights(ready, effort) for effort in ("0", "6"))
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def proxy(ready):
    """minnen.safetensors: random, for jpeg."""
    from safetensors.torch import save_file

    from kcompress.inference.weights import FORMAT
    from kcompress.proxies.minnen import Minnen

    torch.manual_seed(0)
    metadata = {"format": FORMAT, "network": "minnen", "codec": "jpeg",
                "arguments": json.dumps({"width": 8, "latent": 8})}  # fmt: skip
    save_file({k: v.contiguous() for k, v in Minnen(8, 8).state_dict().items()}, ready / "minnen.safetensors", metadata)


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("--model", "three.safetensors"), "there are 2 labels"), (("--task", "detection"), "has no --labels"),
     (("--proxy", "juggling"), "--proxy juggling is not known"), (("--proxy", "npp.safetensors"), "are npp weights"),
     (("--proxy", "minnen.safetensors", "--codec", "webp"), "is a proxy of jpeg, not of webp"),
     (("--forward", "both"), "--forward both is not known"), (("--qualities", "1:2"), "is not understood"),
     (("--qualities", "20:10:30"), "lies between"), (("--qualities", "20:200:300"), "200"),
     (("--lambda", "0"), "is not understood"), (("--effort", "12"), "12"),
     (("--quality-metric", "psnr"), "has no meaning for --network npp"),
     (("--patch", "20x20"), "at least 32"), (("--architecture", "residual"), "has no meaning for --network npp")],
)  # fmt: skip
def test_train_refuses(train, proxy, options, reason) -> None:
    ended = train(*options, expect=2)
    assert reason in ended.stderr


def test_train_needs_a_model_with_gradients(run, ready) -> None:
    ended = run("train", "photos", "--network", "npp", "--codec", "jpeg", "--proxy", "simulator", expect=2)
    assert "needs --model" in ended.stderr
    from onnx import TensorProto, helper, save_model

    pool = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    graph = helper.make_graph([pool], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])])  # fmt: skip
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), ready / "m.onnx")
    ended = run("train", "photos", "--network", "npp", "--model", "m.onnx", "--codec", "jpeg", "--proxy", "simulator",
                expect=2)  # fmt: skip
    assert "has no gradients" in ended.stderr


def test_one_quality_alone(train) -> None:
    (line,) = train("--qualities", "30", "--json").lines
    recipe = line["card"]["recipe"]
    assert recipe["adaptive_steps"] == 0 and recipe["lowest"] == recipe["highest"] == 30


def test_a_classifier_and_what_changes_it(run, ready, monkeypatch) -> None:
    options = ["--network", "classifier", "--width", "4", "--patch", "32x32", "--batch", "4", "--steps", "2",
               "--validate", "2", "--split", "0.6", "--jobs", "1"]  # fmt: skip
    (one,) = run("train", "photos", *options, "-o", "out/one", "--json").lines
    assert one["card"]["classes"] == ["balloons", "lake"] and (ready / "out/one.safetensors").exists()
    (two,) = run("train", "photos", *options, "-o", "out/two", "--architecture", "inverted", "--json").lines
    assert two["card"]["parameters"] != one["card"]["parameters"]
    run(
        "bench",
        "photos",
        "-o",
        "report",
        *BENCH,
        "--task",
        "classification",
        "--labels",
        "--model",
        "out/two.safetensors",
    )
    ended = run("train", "photos", *options, "--architecture", "wide", expect=2)
    assert "--architecture wide is not known" in ended.stderr


def test_a_proxy(run, ready, monkeypatch) -> None:
    options = ["--network", "minnen", "--codec", "jpeg", "--width", "8", "--patch", "32x32", "--steps", "2",
               "--validate", "2", "--split", "0.6", "--pictures", "2", "--patches", "8", "--jobs", "1"]  # fmt: skip
    monkeypatch.setattr(proxies, "_HELD_OUT_PATCHES", 1)
    (line,) = run("train", "photos", *options, "-o", "out/minnen-jpeg", "--json").lines
    assert line["card"]["network"] == "minnen" and line["card"]["codec"] == "jpeg"
    ended = run("train", "photos", "--network", "minnen", expect=2)
    assert "needs --codec" in ended.stderr
