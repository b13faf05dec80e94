"""``--preset``: one word for network, effort and refinement, each of which an option of its own overrides."""

import pytest

from kcompress.codecs import CODECS
from kcompress.errors import UsageError
from kcompress.networks import NONE, default_network
from kcompress.networks.loading import serving
from kcompress.presets import PRESETS, Preset, PresetName, resolved


@pytest.mark.parametrize("codec", CODECS)
def test_each_changes_something_that_the_codec_has(codec):
    found = {name: resolved(name, codec, "auto", None, None, None) for name in PRESETS}
    assert len(set(found.values())) == len(PRESETS) == len(PresetName)
    assert found["default"] == (default_network(codec), None, 0)
    efforts = [CODECS[codec].setting(effort=found[name].effort).effort for name in ("fast", "default", "best")]
    assert efforts == sorted(efforts)
    for network, _, refine in found.values():
        assert network in serving(codec)
        assert not refine or network != NONE
    assert not found["fast"].refine


@pytest.mark.parametrize("codec", CODECS)
def test_fast_is_what_the_table_says(run, small, codec):
    (line,) = run("encode", "small.png", "-o", "out/", "-c", codec, "--preset", "fast", "--json").lines
    preset = PRESETS["fast"][codec]
    assert line["network"].partition("-")[0] == (preset.network or default_network(codec))
    assert line["effort"] == (CODECS[codec].effort.default if preset.effort is None else preset.effort)
    assert "refined" not in line


def test_best_refines_and_options_go_before(run, small, monkeypatch):
    monkeypatch.setitem(PRESETS["best"], "jpeg", Preset(effort=1, refine=2))
    encode = ("encode", "small.png", "--preset", "best", "--json", "--force")
    (best,) = run(*encode).lines
    assert (best["network"], best["effort"], best["refined"]["steps"]) == ("rdo-jpeg", 1, 2)
    (line,) = run(*encode, "--effort", "0", "--refine", "1").lines
    assert (line["network"], line["effort"], line["refined"]["steps"]) == ("rdo-jpeg", 0, 1)
    for options in (["--refine", "0"], ["--network", "none"]):  # the plain encoder stays plain
        (line,) = run(*encode, *options).lines
        assert line["effort"] == 1 and "refined" not in line
    (line,) = run(*encode, "--network", "shrink").lines
    assert line["network"] == "shrink" and line["refined"]["steps"] == 2


def test_an_encoder_without_networks_has_none_in_any_preset(monkeypatch):
    monkeypatch.setitem(PRESETS["best"], "jpeg", Preset(refine=2))
    assert resolved("best", "jpeg", "jpegli", None, None, None) == (NONE, None, 0)


def test_each_of_several_codecs_has_its_own(run, small):
    options = ("--codec", "jpeg,webp", "--preset", "fast", "--json")
    lines = run("encode", "small.png", *options, "-o", "out/").lines
    for line in lines[:2]:
        assert line["effort"] == PRESETS["fast"][line["codec"]].effort
    (planned, *_) = run("encode", "small.png", *options, "-o", "dry/", "--dry-run").lines
    assert planned["output_bytes"] == lines[0]["output_bytes"]
    (best,) = run("encode", "small.png", "-c", "best:jpeg,webp", *options[2:], "-o", "best/", "--target", "50").lines
    assert best["effort"] == PRESETS["fast"][best["codec"]].effort


def test_the_file_of_defaults(run, small, folder):
    (folder / "kcompress.toml").write_text('[encode]\npreset = "fast"\n')
    encode = ("encode", "small.png", "--codec", "webp", "--json", "--force")
    fast = PRESETS["fast"]["webp"].effort
    assert run(*encode).lines[0]["effort"] == fast
    assert run(*encode, "--effort", "0").lines[0]["effort"] == 0
    (folder / "kcompress.toml").write_text("[encode]\neffort = 1\nquality = 40\n")
    (line,) = run(*encode, "--preset", "fast").lines
    assert (line["effort"], line["quality"]) == (fast, 40)
    (folder / "kcompress.toml").write_text('[encode]\neffort = 1\npreset = "fast"\n')
    assert run(*encode).lines[0]["effort"] == 1


def test_help_tells_the_table(run):
    told = " ".join(run("encode", "--help").stdout.decode().split())
    assert all(f"{codec} {preset}" in told for by_codec in PRESETS.values() for codec, preset in by_codec.items())
    assert str(Preset("none", 4, 8)) == "none and effort 4 and refine 8"


def test_an_unknown_one_is_refused(run, small, folder):
    told = run("encode", "small.png", "--preset", "quick", expect=2).stderr
    assert "quick is not known. Allowed: fast, default, best." in " ".join(told.replace("│", " ").split())
    with pytest.raises(UsageError, match="quick is not known"):
        resolved("quick", "jpeg", "auto", None, None, None)
    assert list(folder.iterdir()) == [small]
