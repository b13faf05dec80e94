"""Defaults of options from a file, and completion in the shell."""

import subprocess
import sys

import pytest
from PIL import Image


@pytest.fixture
def write(folder, environment):
    environment["XDG_CONFIG_HOME"] = str(folder / "home")

    def file(text, name="kcompress.toml"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return file


def test_the_file_gives_defaults_and_the_command_line_goes_before(run, small, folder, write):
    write('[encode]\ncodec = "webp"\nnetwork = "none"\nmax-side = 50\nquality = 40\n')
    (line,) = run("encode", "small.png", "--json").lines
    assert (line["codec"], line["network"], line["width"], line["quality"]) == ("webp", "none", 50, 40)
    (line,) = run("encode", "small.png", "--json", "--codec", "jpeg", "--max-side", "60").lines
    assert (line["codec"], line["width"]) == ("jpeg", 60)


def test_numbers_switches_and_lists_are_taken(run, album, folder, write):
    write('[encode]\nnetwork = "none"\ninclude = "a.*"\n')
    (line,) = run("encode", "album", "-o", "first/", "--json").lines[:1]
    assert line["input"].endswith("a.png")
    write('[encode]\ntarget-bpp = 0.8\nnetwork = "none"\njson = true\nexclude = ["deep/*", "b.png"]\n')
    (line,) = run("encode", "album", "-o", "out/").lines
    assert line["target"] == "bpp=0.8" and line["input"].endswith("a.png")


def test_the_first_file_that_is_there_counts(run, small, folder, environment, write):
    write("[encode]\nquality = 11\n", "home/kcompress/kcompress.toml")
    plain = ("encode", "small.png", "--json", "--force", "--network", "none")
    assert run(*plain).lines[0]["quality"] == 11
    write("[encode]\nquality = 22\n")
    assert run(*plain).lines[0]["quality"] == 22
    write("[encode]\nquality = 33\n", "other.toml")
    assert run(*plain, KCOMPRESS_CONFIG="other.toml").lines[0]["quality"] == 33
    assert run(*plain, KCOMPRESS_CONFIG="").lines[0]["quality"] == 75


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[encode]\nforce = true\n", "command line alone"),
        ("[encode]\nin-place = true\n", "command line alone"),
        ("[encode]\nbeauty = 3\n", "no option"),
        ("[encod]\nquality = 3\n", "no table of a command"),
        ("quality = 3\n", "no table of a command"),
        ("[encode\n", "cannot be read"),
        ("[encode]\nquality = 300\n", "scale of jpeg"),
        ('[encode]\ncodec = "gif"\n', "not known"),
        ('[encode]\ncodec = ["jpeg"]\n', "takes text or a number"),
        ("[encode]\nquality = true\n", "takes text or a number"),
        ('[encode]\nskip-existing = "no"\n', "takes true or false"),
    ],
)
def test_nonsense_is_refused(run, small, folder, write, text, reason):
    write(text)
    done = run("encode", "small.png", "--json", expect=2)
    assert reason in done.stderr and done.lines[0]["exit_code"] == 2
    assert not (folder / "small.jpg").exists()


def test_a_file_that_is_named_must_be_there(run, small, environment):
    assert "cannot be read" in run("encode", "small.png", expect=2, KCOMPRESS_CONFIG="missing.toml").stderr


def test_doctor_tells_what_is_in_force(run, write):
    write('[encode]\ncodec = "webp"\n[compare]\nmetric = "psnr"\n')
    told = {line["name"]: line for line in run("doctor", "--json").lines if line["type"] == "default"}
    assert {name: line["detail"] for name, line in told.items()} == {
        "encode --codec": "webp", "compare --metric": "psnr",
    }  # fmt: skip
    assert all(line["path"] == "kcompress.toml" for line in told.values())


def test_another_command_is_not_told(run, small, write):
    write("[decode]\nframe = 3\n[encode]\nnetwork = 'none'\n")
    run("encode", "small.png")
    with Image.open(small.with_suffix(".jpg")) as picture:
        assert picture.size == (96, 64)


@pytest.mark.parametrize(
    ("words", "expected"), [("kcompress enc", "encode"), ("kcompress encode --target-s", "--target-size")]
)
def test_the_shell_completes(folder, environment, write, words, expected):
    write("[nonsense]\n")  # which completion does not mind
    told = {"_KCOMPRESS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "from kcompress.cli import app; app(prog_name='kcompress')"
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=folder, env=environment | told, capture_output=True, text=True)
    assert done.stdout.split() == [expected]
