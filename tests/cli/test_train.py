"""``kcompress train``: the whole way, what each option does, and what it refuses."""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from labeling.tools import labelled, plan, save
from pictures import load
from safetensors.torch import load_file, save_file
from tiny_weights import write_kuchen
from waiting import cpu_seconds, wait_until

from kcompress.cli import output
from kcompress.cli.train import _beside
from kcompress.inference import weights as weight_files
from kcompress.proxies.simulator import Simulator
from kcompress.training import trainer, validation
from kcompress.training.checkpoint import Checkpoint
from kcompress.training.learner import Learner

pytestmark = pytest.mark.usefixtures("one_thread")
BASE = ["--width", "2", "--patch", "32x24", "--stride", "24", "--steps", "4", "--validate", "2", "--pictures", "1",
        "--device", "cpu", "-o", "out/small"]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """photos/ and labels/ of eight noisy crops."""
    place = tmp_path_factory.mktemp("made")
    pixels = load("lake.png").pixels
    for number in range(8):
        crop = pixels[9 * number : 9 * number + 60, 11 * number : 11 * number + 72]
        noisy = np.clip(crop + np.random.default_rng(number + 20).normal(0, 12, crop.shape), 0, 255)
        save(noisy.astype(np.uint8), place / f"photos/{number}.bmp")
    labelled(plan(place / "photos", pool=("nlm:h=10",)), place / "labels")
    return place


@pytest.fixture
def labels(made, folder):
    """A copy of labels/ that knows of its own photos/."""
    shutil.copytree(made, folder, dirs_exist_ok=True)
    kept = folder / "labels/plan.json"
    kept.write_text(kept.read_text().replace(str(made), str(folder)))
    return folder / "labels"


@pytest.fixture
def train(run, labels, monkeypatch):
    """``train("--seed", "1")``: tiny, and without the export, which takes seconds; later options win."""
    monkeypatch.setattr(trainer, "publish", lambda stem, card, *_: dict(card))
    return lambda *options, **more: run("train", "labels/labels.csv", *BASE, *options, **more)


def weights(folder, step=4, place="out/small-checkpoints"):
    return load_file(folder / place / f"step-{step:06d}.safetensors")


def alike(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def log(folder, place="out/small-checkpoints"):
    with (folder / place / "log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_from_labels_to_a_picture(run, labels, folder):
    ended = run("train", "labels", *BASE, "--about", "a lake, CC0")
    path, last = ended.stdout.decode().splitlines()
    assert path == "out/small.safetensors"
    assert "step 2: loss" in ended.stderr and "step 4: loss" in ended.stderr and "best at step" in ended.stderr
    card = json.loads((folder / "out/small.json").read_text())
    assert card["data"].endswith("a lake, CC0") and card["codec"] == "jpeg"
    program, command, picture, *options = shlex.split(last)
    assert (program, command, picture) == ("kcompress", "encode", "photo.png")
    (line,) = run(command, "photos/0.bmp", *options, "-o", "0.jpg", "--json").lines
    assert line["network"] == "small" and line["codec"] == "jpeg"
    assert (folder / "0.jpg").stat().st_size > 100
    before = (folder / "out/small.safetensors").read_bytes()
    ended = run("train", "labels", *BASE, "--seed", "1", "--checkpoints", "again", expect=5)
    assert "out/small.safetensors exists. Give --force" in ended.stderr and not (folder / "again").exists()
    assert (folder / "out/small.safetensors").read_bytes() == before
    run("train", "labels", *BASE, "--seed", "1", "--checkpoints", "again", "--force")
    assert (folder / "out/small.safetensors").read_bytes() != before


def test_json_gives_the_card(train, folder):
    (line,) = train("--json").lines
    assert line["type"] == "trained" and line["weights"] == "out/small.safetensors"
    assert line["card"]["recipe"]["width"] == 2 and line["card"]["recipe"]["steps"] == 4


@pytest.mark.parametrize("source", ["labels", "labels/labels.csv"])
def test_results_lie_with_the_labels(run, train, folder, source):
    shutil.copytree(folder / "photos", folder / "weights")  # as in a checkout
    before = sorted(path.name for path in (folder / "weights").iterdir())
    ended = run("train", source, *BASE[:-2])
    assert ended.stdout.decode().splitlines()[0] == "labels/kuchen-jpeg.safetensors"
    assert (folder / "labels/kuchen-jpeg-checkpoints/log.png").exists()
    assert sorted(path.name for path in (folder / "weights").iterdir()) == before


@pytest.mark.parametrize("suffix", ["safetensors", "onnx", "json"])
def test_nothing_is_overwritten_without_force(train, folder, suffix):
    (folder / "out").mkdir()
    (folder / f"out/small.{suffix}").write_text("precious")
    assert f"out/small.{suffix} exists. Give --force" in train(expect=5).stderr
    assert not (folder / "out/small-checkpoints").exists()
    train("--force")


def test_rights_of_checkpoints_follow_the_umask(train, folder):
    before = os.umask(0o027)
    try:
        train("--checkpoints", "kept")
    finally:
        os.umask(before)
    files = [path for path in (folder / "kept").iterdir() if path.is_file()]
    assert len(files) > 3 and {path.stat().st_mode & 0o777 for path in files} == {0o640}


@pytest.fixture(scope="module")
def usual():
    """Network -> weights of its usual training, which is run once."""
    return {}


def changed(usual, network, train, folder, *options):
    """Whether options change the weights of a network."""
    if network not in usual:
        train("--checkpoints", "usual")
        usual[network] = weights(folder, place="usual")
    train("--checkpoints", "other", *options)
    return not alike(usual[network], weights(folder, place="other"))


@pytest.mark.parametrize("options", [("--seed", "1"), ("--stride", "12"), ("--schedule", "cosine")], ids=" ".join)
def test_options_change_the_weights(train, folder, usual, options):
    assert changed(usual, "kuchen", train, folder, *options)


def test_strength_is_that_of_validation(train, folder):
    fast = ["--lr", "0.1"]  # so that it is no identity after four steps
    card = train(*fast, "--checkpoints", "half", "--json").lines[0]["card"]
    other = train(*fast, "--checkpoints", "whole", "--strength", "1", "--json").lines[0]["card"]
    assert (card["recipe"]["strength"], other["recipe"]["strength"]) == (0.5, 1)
    assert alike(weights(folder, place="half"), weights(folder, place="whole"))
    assert card["against_the_plain_codec"] != other["against_the_plain_codec"]
    refused = train(*fast, "--checkpoints", "whole", "--resume", expect=2)
    assert "--resume: strength was 1.0 before and is 0.5 now" in refused.stderr


def test_a_start_from_other_weights(train, folder, tmp_path):
    random = train("--lr", "1e-9", "--checkpoints", "random", "--json").lines[0]["card"]
    start = write_kuchen(tmp_path / "tiny.safetensors", width=2)
    card = train("--lr", "1e-9", "--start", str(start), "--checkpoints", "started", "--json").lines[0]["card"]
    expected = load_file(start)
    found = weights(folder, place="started")
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
    assert not alike(found, weights(folder, place="random"))
    assert card["recipe"]["start"].startswith("tiny ") and random["recipe"]["start"] == ""
    refused = train("--start", str(start), "--width", "4", "--checkpoints", "wide", expect=2)
    assert "has width 2. Give --width 2" in refused.stderr


def test_the_same_again_gives_the_same(train, folder):
    train("--checkpoints", "one")
    train("--checkpoints", "two", "--codec", "jpeg")
    assert alike(weights(folder, place="one"), weights(folder, place="two"))


def test_validations_come_as_often_as_asked_for(train, folder):
    train("--validate", "1", "--checkpoints", "often")
    assert [row["step"] for row in log(folder, "often")] == ["1", "2", "3", "4"]
    train("--validate", "100", "--pictures", "2", "--checkpoints", "seldom", "--json")
    assert [row["step"] for row in log(folder, "seldom")] == ["4"]


def test_pictures_to_validate_with(train):
    counts = [
        train("--pictures", str(count), "--checkpoints", f"c{count}", "--json").lines[0]["card"]["held_out_pictures"]
        for count in (1, 2)
    ]
    assert counts == [1, 2]


def test_epochs_stand_for_steps(run, labels, folder, monkeypatch):
    monkeypatch.setattr(trainer, "publish", lambda stem, card, *_: dict(card))
    options = [option for option in BASE if option not in ("--steps", "4")]
    (line,) = run("train", "labels", *options, "--epochs", "2", "--validate", "1000", "--json").lines
    pictures = int(line["card"]["data"].split()[2])
    assert line["card"]["recipe"]["steps"] == 2 * (pictures * 2 * 2 // 4)  # two by two patches a picture


def test_it_goes_on(train, folder):
    train("--steps", "2")
    refused = train("--steps", "4", expect=5)
    assert "holds a training. Give --resume" in refused.stderr
    train("--steps", "4", "--resume")
    train("--steps", "4", "--checkpoints", "whole")
    assert alike(weights(folder), weights(folder, place="whole"))
    assert [row["step"] for row in log(folder)] == ["2", "4"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_goes_on_after_an_interruption(start, train, folder, number, code):
    """Before the first validation, too."""
    endless = ("--steps", "1000000", "--validate", "1000000")
    place = folder / "out/small-checkpoints"
    process = start("train", "labels/labels.csv", *BASE, *endless)
    wait_until(lambda: (place / "log.csv").exists())
    begun = cpu_seconds(process.pid)
    wait_until(lambda: cpu_seconds(process.pid) > begun + 0.5)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == code and b"Traceback" not in stderr
    told = re.search(r"step (\d+) is kept in out/small-checkpoints; --resume goes on from there", stderr.decode())
    state = Checkpoint.read(place)
    assert told and state is not None and int(told[1]) == state.step > 1
    train(*endless, "--resume", "--minutes", "0.001")  # which one step ends
    assert [row["step"] for row in log(folder)] == [str(state.step + 1)]


def test_originals_that_have_moved(train, folder):
    shutil.move(folder / "photos", folder / "elsewhere")
    assert "cannot be read" in train(expect=3).stderr
    train("--dataset", "elsewhere", "--checkpoints", "new")


def test_a_loss_that_diverges(train, folder, monkeypatch):
    step = Learner.step

    def diverging(self, number, *batch_and_rate):
        if number == 3:
            raise FloatingPointError("the loss is nan at step 4")
        return step(self, number, *batch_and_rate)

    monkeypatch.setattr(Learner, "step", diverging)
    ended = train(expect=1)
    assert "the loss is nan at step 4. The last good checkpoint is in out/small-checkpoints" in ended.stderr
    assert "a smaller --lr than 0.0001" in ended.stderr
    assert (folder / "out/small-checkpoints/best.safetensors").exists()


def test_lines_tell_of_progress_where_there_is_no_terminal(train, monkeypatch):
    assert "of 4: loss" not in train().stderr, "less than half a minute"
    moments = iter(range(0, 10_000, 20))
    monkeypatch.setattr(output, "time", type("Clock", (), {"monotonic": staticmethod(lambda: next(moments))}))
    told = train("--checkpoints", "slow").stderr
    assert "step 2 of 4: loss" in told and "steps/min" in told and " left" in told
    assert 1 <= told.count("of 4: loss") < 4, "at most one in 30 seconds"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--network", "shrink"], 2, "--network shrink cannot be trained. Allowed: kuchen, blend, rdo, feedback"),
        (["--quality-metric", "ssimulacra2"], 2, "--quality-metric has no meaning for --network kuchen"),
        (["--jobs", "2"], 2, "--jobs has no meaning for --network kuchen"),
        (["--epochs", "2"], 2, "--steps 4 and --epochs 2 exclude each other"),
        (["--codec", "webp"], 2, "has labels for jpeg. Leave --codec out"),
        (["--patch", "32"], 2, "--patch 32 is no size"),
        (["--patch", "0x24"], 2, "--patch 0x24 is no size"),
        (["--split", "1"], 2, "--split 1 is out of range"),
        (["--schedule", "linear"], 2, "--schedule linear is not known. Allowed: constant, cosine"),
        (["--start", "missing.safetensors"], 9, "missing.safetensors do not exist"),
        (["--lr", "0"], 2, "--lr 0 is out of range"),
        (["--width", "3"], 2, "--width 3 is not possible"),
        (["--batch", "0"], 2, "--batch"),
        (["--patch", "320x180"], 3, "0 patches of 320x180 are fewer than one batch of 4"),
        (["--split", "0.0001"], 3, "leaves none to train on"),
        (["--device", "tpu"], 2, "tpu"),
    ],
)
def test_what_is_refused(train, folder, options, code, message):
    assert message in train(*options, expect=code).stderr
    assert not (folder / "out/small.safetensors").exists()


def _photographs(folder, lake, height, width):
    """Six crops of the lake, in photos/."""
    for number in range(6):
        top, left = 20 * number, 30 * number
        save(lake.pixels[top : top + height, left : left + width], folder / f"photos/{number}.bmp")


@pytest.fixture
def rdo(run, folder, lake, monkeypatch):
    """``rdo("--seed", "1")``: tiny, from photos/, and without the export."""
    monkeypatch.setattr(trainer, "publish", lambda stem, card, *_: dict(card))
    _photographs(folder, lake, 112, 128)
    fixed = ["--network", "rdo", "--width", "16", "--patch", "96x96", "--steps", "4", "--validate", "2", "--batch", "2",
             "--quality-metric", "ssimulacra2:2,vif",
             "--split", "0.5", "--pictures", "1", "--jobs", "1", "--patches", "6",
             "-o", "out/small"]  # fmt: skip
    return lambda *options, **more: run("train", "photos", *fixed, *options, **more)


def test_rdo_learns_from_photographs(rdo, folder):
    (line,) = rdo("--json", "--about", "a lake, CC0").lines
    assert line["weights"] == "out/small.safetensors"
    card = line["card"]
    assert card["network"] == "rdo" and card["codec"] == "jpeg" and card["data"].endswith("photographs, a lake, CC0")
    assert [row["step"] for row in log(folder)] == ["2", "4"]
    path, last = rdo("--resume", "--codec", "jpeg").stdout.decode().splitlines()
    assert path == "out/small.safetensors"
    assert last == f"kcompress encode photo.png --codec jpeg --network rdo --weights {path}"


def test_weights_from_photographs_lie_where_one_is():
    assert _beside(Path("photos"), "rdo") == Path()


@pytest.mark.parametrize(
    "options", [("--patch", "80x80"), ("--quality-metric", "ssimulacra2"), ("--mozjpeg", "1")], ids=" ".join
)
def test_options_change_the_weights_of_rdo(rdo, folder, usual, options):
    if "--mozjpeg" in options:
        pytest.importorskip("pyvips")
    assert changed(usual, "rdo", rdo, folder, *options)


@pytest.fixture
def tables(run, folder, lake, monkeypatch):
    """``tables("--seed", "1")``: one generation for one quality, from photos/; later options win."""
    monkeypatch.setattr("kcompress.training.tasks.tables.scaling.NODES", (30, 60, 90))
    monkeypatch.setattr("kcompress.training.tasks.tables.cost.LADDER", (10, 30, 50, 70, 90, 99))
    _photographs(folder, lake, 176, 192)
    fixed = ["--network", "tables", "--behind", "none", "--qualities", "50", "--patch", "176x176", "--steps", "1",
             "--batch", "4", "--split", "0.2", "--quality-metric", "psnr", "--jobs", "1", "--device", "cpu",
             "-o", "out/found"]  # fmt: skip
    return lambda *options, **more: run("train", "photos", *fixed, *options, **more)


def test_tables_are_learned_by_the_real_encoder(tables, folder, run):
    (line,) = tables("--json", "--about", "a lake, CC0").lines
    card = line["card"]
    assert line["weights"] == "out/found.json" and card["network"] == "tables" and card["codec"] == "jpeg"
    assert card["data"].endswith("pictures, a lake, CC0") and card["recipe"]["behind"] == "none"
    assert [(row["step"], row["quality"]) for row in log(folder, "out/found-checkpoints")] == [("1", "50")]
    first = (folder / "out/found.json").read_bytes()
    assert "out/found.json exists. Give --force" in tables("--resume", expect=5).stderr
    path, last = tables("--resume", "--force").stdout.decode().splitlines()
    assert last == f"kcompress encode photo.png --codec jpeg --tables {path}"
    again, before = (json.loads(text)["log_steps"] for text in ((folder / path).read_bytes(), first))
    assert again == before
    (line,) = run("encode", "photos/0.bmp", "--tables", path, "-o", "0.jpg", "--json").lines
    assert line["tables"] == path
    tables("--start", "mean", "--checkpoints", "other", "--force")
    assert json.loads((folder / path).read_bytes())["log_steps"] != before


@pytest.fixture
def feedback(run, folder, lake, monkeypatch):
    """``feedback("--seed", "1")``: tiny, from photos/, and without the export."""
    monkeypatch.setattr(trainer, "publish", lambda stem, card, *_: dict(card))
    monkeypatch.setattr(validation, "SIDE", 96)
    _photographs(folder, lake, 112, 128)
    fixed = ["--network", "feedback", "--patch", "96x96", "--steps", "4", "--validate", "4", "--batch", "2", "--split",
             "0.5", "--pictures", "1", "--jobs", "1", "--patches", "3",
             "--quality-metric", "ssimulacra2:2,vif,psnr", "-o", "out/small"]  # fmt: skip
    return lambda *options, **more: run("train", "photos", *fixed, *options, **more)


def test_feedback_learns_from_photographs(feedback, folder):
    (line,) = feedback("--codec", "webp", "--json", "--about", "a lake, CC0").lines
    card = line["card"]
    assert card["network"] == "feedback" and card["codec"] == "webp"
    assert card["data"].endswith("photographs, a lake, CC0")
    assert card["recipe"]["objective"] == {"ssimulacra2": 0.5, "vif": 0.25, "psnr": 0.25}
    assert [row["step"] for row in log(folder)] == ["4"]


@pytest.mark.parametrize(
    "options",
    [("--split", "0.7"), ("--codec", "hevc"), ("--quality-metric", "psnr-hvs-m,psnr:2")],
    ids=" ".join,
)  # fmt: skip
def test_options_change_the_weights_of_feedback(feedback, folder, usual, options):
    assert changed(usual, "feedback", lambda *more: feedback("--codec", "webp", *more), folder, *options)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "--network feedback needs --codec"),
        (["--codec", "webp", "--patch", "96x80"], 2, "feedback takes squares of at least 64 pixels"),
        (["--codec", "jpeg"], 2, "feedback is trained for webp, hevc, bpg, avif alone"),
        (["--codec", "webp", "--quality-metric", "ms-ssim"], 2, "too small for ms-ssim, which needs 161 pixels"),
        (["--codec", "webp", "--width", "8"], 2, "--width has no meaning for --network feedback"),
        (["--codec", "webp", "--start", "w.safetensors"], 9, "w.safetensors do not exist"),
        (["--codec", "webp", "--quality-metric", "vqscore"], 2, "Allowed: ssimulacra2, psnr, psnr-hvs-m"),
        (["--codec", "webp", "--patch", "160x160"], 3, "no picture of 160 pixels a side"),
    ],
)
def test_what_feedback_refuses(feedback, folder, options, code, message):
    assert message in feedback(*options, expect=code).stderr
    assert not (folder / "out/small.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--codec", "bpg"], 2, "--codec bpg: rdo is trained for jpeg alone"),
        (["--patch", "96x80"], 2, "rdo takes squares of a multiple of 16 pixels"),
        (["--patch", "100x100"], 2, "rdo takes squares"),
        (["--stride", "9"], 2, "--stride has no meaning for --network rdo"),
        (["--mozjpeg", "1.5"], 2, "--mozjpeg"),
        (["--start", "missing.safetensors"], 9, "missing.safetensors do not exist"),
        (["--schedule", "cosine"], 2, "--schedule has no meaning for --network rdo"),
        (["--epochs", "2"], 2, "exclude each other"),
        (["--quality-metric", "vmaf"], 2, "Allowed: ssimulacra2, butteraugli, psnr-hvs-m"),
        (["--quality-metric", "psnr:0"], 2, "0 is no weight"),
        (["--quality-metric", "psnr:x,vif"], 2, "--quality-metric psnr:x: x is no weight. Give a number above 0"),
        (["--quality-metric", "psnr,psnr:2"], 2, "names psnr twice"),
        (["--split", "0.0001"], 3, "leaves none to train on"),
        (["--patch", "160x160"], 3, "no picture of 160 pixels a side"),
    ],
)
def test_what_rdo_refuses(rdo, folder, options, code, message):
    assert message in rdo(*options, expect=code).stderr
    assert not (folder / "out/small.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codec", "webp", "--through", "exact"], "only jpeg has an exact twin, not webp. Take labels"),
        (["--codec", "jpeg", "--through", "exact", "--quality-metric", "vmaf"], "vmaf cannot be followed --through"),
    ],
)
def test_what_blend_refuses(run, folder, lake, options, message):
    _photographs(folder, lake, 112, 128)
    asked = ["train", "photos", "--network", "blend", "--patch", "96x96", "-o", "out/small", *options]
    assert message in run(*asked, expect=2).stderr


@pytest.fixture
def artefacts(run, folder, lake, monkeypatch):
    """``artefacts("--codec", "webp")``: tiny, from photos/, and without the export."""
    monkeypatch.setattr(trainer, "publish", lambda stem, card, *_: dict(card))
    monkeypatch.setattr(validation, "SIDE", 96)
    _photographs(folder, lake, 112, 128)
    fixed = ["--network", "artefacts", "--width", "8", "--patch", "96x96", "--steps", "4", "--validate", "4", "--batch",
             "2", "--split", "0.5", "--pictures", "1", "--jobs", "1", "--patches", "3", "--quality-metric", "vif,psnr",
             "-o", "out/small"]  # fmt: skip
    return lambda *options, **more: run("train", "photos", *fixed, *options, **more)


@pytest.mark.parametrize("options", [("--through", "exact"), ("--through", "real"), ("--seed", "1")], ids=" ".join)
def test_options_change_the_weights_of_artefacts(artefacts, folder, usual, options):
    assert changed(usual, "artefacts", lambda *more: artefacts("--codec", "jpeg", *more), folder, *options)


def test_artefacts_learn_through_a_simulator_of_ones_own(artefacts, folder):
    refused = artefacts("--codec", "avif", expect=2).stderr
    assert (
        "none came along for avif" in refused and "kcompress train PHOTOS --network simulator --codec avif" in refused
    )
    arguments = json.dumps({"width": 8, "depth": 1})
    about = {"format": weight_files.FORMAT, "network": "simulator", "codec": "avif", "arguments": arguments}
    save_file(Simulator(8, 1).state_dict(), folder / "simulator-avif.safetensors", about)
    (line,) = artefacts("--codec", "avif", "--proxy", "simulator-avif.safetensors", "--json").lines
    card = line["card"]
    assert card["network"] == "artefacts" and card["codec"] == "avif" and card["recipe"]["lowest"] == 15
    assert card["recipe"]["proxy"].startswith("simulator-avif ") and card["recipe"]["through"] == "simulator"
    assert [row["step"] for row in log(folder)] == ["4"] and "rate_loss" in log(folder)[0]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "--network artefacts needs --codec. Give one of jpeg, webp, hevc, bpg, avif"),
        (["--codec", "gif"], 2, "gif"),
        (["--codec", "webp", "--through", "exact"], 2, "only jpeg has an exact twin, not webp"),
        (["--codec", "jpeg", "--through", "twin"], 2, "--through twin is not known. Allowed: simulator, real, exact"),
        (["--codec", "jpeg", "--through", "exact", "--proxy", "simulator"], 2, "has no meaning with --through exact"),
        (["--codec", "webp", "--proxy", "nothing"], 2, "--proxy nothing is not known"),
        (["--codec", "webp", "--proxy", "nothing.safetensors"], 9, "nothing.safetensors do not exist"),
        (["--codec", "webp", "--effort", "99"], 2, "--effort 99"),
        (["--codec", "webp", "--patch", "90x90"], 2, "artefacts takes squares of a multiple of 16 pixels"),
        (["--codec", "webp", "--quality-metric", "ms-ssim"], 2, "too small for ms-ssim, which needs 161 pixels"),
        (["--codec", "webp", "--mozjpeg", "1"], 2, "--mozjpeg has no meaning for --network artefacts"),
    ],
)
def test_what_artefacts_refuse(artefacts, folder, options, code, message):
    assert message in artefacts(*options, expect=code).stderr
    assert not (folder / "out/small.safetensors").exists()


@pytest.fixture
def simulator(run, folder, lake, monkeypatch):
    """``simulator("--seed", "1")``: tiny, of WebP, from photos/."""
    _photographs(folder, lake, 112, 128)
    fixed = ["--network", "simulator", "--width", "8", "--patch", "32x32", "--steps", "2", "--validate", "1",
             "--batch", "2", "--split", "0.5", "--pictures", "1", "--jobs", "1", "--patches", "3",
             "-o", "out/small"]  # fmt: skip
    return lambda *options, **more: run("train", "photos", *fixed, *options, **more)


def test_a_simulator_learns_from_photographs(simulator, folder, run):
    (line,) = simulator("--codec", "webp", "--json", "--about", "a lake, CC0").lines
    assert line["weights"] == "out/small.safetensors"
    card = line["card"]
    assert card["network"] == "simulator" and card["codec"] == "webp"
    assert card["data"].endswith("photographs, a lake, CC0") and "psnr_gain_db" in card["on_held_out_patches"]
    assert [row["step"] for row in log(folder)] == ["1", "2"]
    assert simulator("--codec", "webp", "--resume", "--force").stdout == b"out/small.safetensors\n"
    assert not (folder / "out/small.onnx").exists()
    done = run("encode", "photos/0.bmp", "--network", "kuchen", "--weights", "out/small.safetensors", expect=9)
    assert "are simulator weights; kuchen was asked for" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--network simulator needs --codec. Give one of jpeg, webp, hevc, bpg, avif"),
        (["--codec", "webp", "--patch", "96x80"], "a simulator takes squares of at least 16 pixels"),
        (["--codec", "webp", "--patch", "8x8"], "a simulator takes squares"),
        (["--codec", "webp", "--stride", "9"], "--stride has no meaning for --network simulator"),
        (["--codec", "webp", "--quality-metric", "psnr"], "--quality-metric has no meaning for --network simulator"),
    ],
)
def test_what_a_simulator_refuses(simulator, folder, options, message):
    assert message in simulator(*options, expect=2).stderr
    assert not (folder / "out/small.safetensors").exists()


def test_no_labels(run, folder):
    assert "labels.csv cannot be read" in run("train", "nothing/labels.csv", expect=3).stderr


@pytest.mark.slow
def test_two_processes_train_as_one(labels, folder, environment):
    """As ``accelerate launch`` starts them."""
    for place, processes in (("one", 1), ("two", 2)):
        alone = ["--standalone", "--nproc-per-node", str(processes)]
        launcher = [sys.executable, "-m", "torch.distributed.run", *alone, "-m"]
        options = [*BASE, "--checkpoints", place, "--json", "--force"]
        done = subprocess.run(
            [*launcher, "kcompress", "train", "labels", *options], cwd=folder, capture_output=True, text=True,
            env={**environment, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count('"type": "trained"') == 1
    one, two = (weights(folder, place=place) for place in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)
