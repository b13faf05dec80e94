"""``kcompress doctor``: what is here, what is not, how to get it."""

import re

from kcompress.metrics import METRICS
from kcompress.pool import FILTERS

ENCODERS = [
    "jpeg: cjpeg", "jpeg: pillow", "jpeg: mozjpeg", "jpeg: jpegli", "webp: cwebp", "webp: libwebp", "webp: pillow",
    "hevc: x265", "hevc: ffmpeg", "bpg: bpgenc", "bpg: x265", "bpg: ffmpeg", "avif: ffmpeg", "avif: pillow",
    "avif: avifenc",
]  # fmt: skip


def test_every_encoder_network_and_device_is_listed(run):
    lines = run("doctor", "--json").lines
    assert all(list(line) == ["type", "name", "available", "detail", "path", "use", "advice"] for line in lines)
    named = {
        kind: [line["name"] for line in lines if line["type"] == kind]
        for kind in ("encoder", "network", "model", "device")
    }
    assert [line["name"] for line in lines if line["type"] == "metric"] == list(METRICS)
    assert named == {
        "encoder": ENCODERS,
        "network": ["none", "shrink", "kuchen", "blend", "rdo", "feedback", "artefacts", "npp"],
        "model": ["classifier-inverted", "classifier-residual", "rapidocr", "tflite"],
        "device": ["cpu", "cuda"],
    }


def test_every_filter_of_the_pool_is_listed(run, tiny_weights, shipped):
    shipped(tiny_weights)
    filters = {line["name"]: line for line in run("doctor", "--json").lines if line["type"] == "filter"}
    assert list(filters) == list(FILTERS)
    assert {line["use"] for line in filters.values()} == {"label pool"}
    assert filters["ar"]["detail"] == "random ar [safetensors + ONNX]"
    assert filters["nlm"]["detail"] == FILTERS["nlm"].about
    assert all(filters[name]["available"] and not filters[name]["advice"] for name in ("ar", "nlm", "detail"))


def test_a_program_behind_a_filter_with_its_path(run, fake, tmp_path):
    fake("guetzli", version="guetzli 1.0.1")
    (line,) = (line for line in run("doctor", "--json").lines if line["name"] == "guetzli")
    assert (line["available"], line["detail"], line["path"]) == (True, "1.0.1", str(tmp_path / "bin" / "guetzli"))


def test_a_network_that_makes_a_part_of_its_change_says_so(run):
    details = {line["name"]: line["detail"] for line in run("doctor", "--json").lines if line["type"] == "network"}
    parts = {name: re.findall(r"\[safetensors \+ ONNX(.*?)\]", details[name]) for name in ("kuchen", "feedback", "rdo")}
    assert parts == {"kuchen": 3 * [", strength 0.5"], "feedback": 2 * [", strength 0.8"], "rdo": [""]}


def test_weights_of_filters_and_metrics(run, tiny_weights, shipped, tmp_path):
    for folder, here in ((tiny_weights, True), (tmp_path / "nothing", False)):
        shipped(folder)
        lines = {(line["type"], line["name"]): line for line in run("doctor", "--json").lines}
        for line in (lines["filter", "ar"], lines["metric", "vqscore"]):
            assert line["available"] == here
            assert line["detail"] == (f"random {line['name']} [safetensors + ONNX]" if here else None)
            assert line["advice"] == ("" if here else "Its weights did not come along: reinstall kcompress.")


def test_for_people(run):
    shown = run("doctor").stdout.decode()
    assert all(name in shown for name in ENCODERS)
    assert max(map(len, shown.splitlines())) <= 80


def test_without_any_program_everything_can_still_be_done(run, no_programs):
    ended = run("doctor", "--json")
    encoders = {line["name"]: line for line in ended.lines if line["type"] == "encoder"}
    extras = ("jpeg: mozjpeg", "jpeg: jpegli")
    missing = [name for name, line in encoders.items() if not line["available"] and name not in extras]
    assert missing == ["jpeg: cjpeg", "webp: cwebp", "hevc: x265", "bpg: bpgenc", "bpg: x265", "avif: avifenc"]
    filters = {line["name"]: line for line in ended.lines if line["type"] == "filter"}
    assert not filters["guetzli"]["available"] and "apt install guetzli" in filters["guetzli"]["advice"]
    assert filters["nlm"]["available"] and filters["detail"]["available"]
    assert "apt install libjpeg-turbo-progs" in encoders["jpeg: cjpeg"]["advice"]
    assert all(encoders[name]["advice"] for name in missing)
    shown = " ".join(run("doctor").stdout.decode().split())
    assert "apt install x265" in shown


def test_whose_cjpeg_it_is(run, fake, tmp_path):
    for version, shown in (
        ("mozjpeg version 4.1.1 (build 20230101)", "mozjpeg version 4.1.1"),
        ("libjpeg-turbo version 2.1.5 (build 20240101)", "libjpeg-turbo version 2.1.5"),
        ("nonsense", "unknown version"),
    ):
        folder = tmp_path / "bin"
        fake("cjpeg", version=version)
        (folder / "cjpeg").rename(folder / "renamed")
        (folder / shown).mkdir()
        (folder / "renamed").rename(folder / shown / "cjpeg")  # versions are remembered by path
        line = run("doctor", "--json", PATH=str(folder / shown)).lines[0]
        assert (line["name"], line["detail"]) == ("jpeg: cjpeg", shown)
        assert line["path"] == str(folder / shown / "cjpeg")
