"""Nothing that exists is lost, nothing is half-written, any name works."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest


def test_an_existing_file_needs_force(run, small, folder):
    (folder / "small.jpg").write_text("precious")
    ended = run("encode", "small.png", expect=5)
    assert "small.jpg exists" in ended.stderr and "--force" in ended.stderr and "--skip-existing" in ended.stderr
    assert (folder / "small.jpg").read_text() == "precious"
    run("encode", "small.png", "--force")
    assert (folder / "small.jpg").read_bytes().startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize("link", ["itself", "symbolic", "hard", "dotted"])
def test_the_input_is_never_the_output(run, small, folder, link):
    run("encode", "small.png", "-o", "photo.jpg")
    before = (folder / "photo.jpg").read_bytes()
    target = {"itself": "photo.jpg", "dotted": "./x/../photo.jpg"}.get(link, "linked.jpg")
    (folder / "x").mkdir()
    if link == "symbolic":
        (folder / "linked.jpg").symlink_to("photo.jpg")
    elif link == "hard":
        (folder / "linked.jpg").hardlink_to(folder / "photo.jpg")
    ended = run("encode", "photo.jpg", "-o", target, "--force", expect=5)
    assert "is also an input" in ended.stderr
    assert (folder / "photo.jpg").read_bytes() == before


def test_another_input_is_never_the_output(run, small, folder):
    run("encode", "small.png", "-o", "out/small.jpg")
    before = (folder / "out" / "small.jpg").read_bytes()
    ended = run("encode", "small.png", "out/small.jpg", "-o", "out", "--force", expect=1)
    assert ended.stderr.count("is also an input") == 2
    assert (folder / "out" / "small.jpg").read_bytes() == before


def test_two_inputs_with_one_output(run, small, folder):
    shutil.copy(small, folder / "small.bmp.png")
    for name in ("one", "two"):
        (folder / name).mkdir()
        shutil.copy(small, folder / name / "same.png")
    ended = run("encode", "one/same.png", "two/same.png", "-o", "out", expect=1)
    assert "out/same.jpg is already the output of one/same.png" in ended.stderr
    assert (folder / "out" / "same.jpg").is_file()


@pytest.mark.parametrize("arguments", [["encode", ""], ["encode", "small.png", "-o", ""], ["decode", ""]])
def test_an_empty_name(run, small, folder, arguments):
    assert "a file name is empty" in run(*arguments, expect=2).stderr
    assert [path.name for path in folder.iterdir()] == ["small.png"]


@pytest.mark.parametrize("target", ["file/x.jpg", "file/", "/proc/nothing/x.jpg", "n" * 300 + ".jpg"])
def test_where_nothing_can_be_written(run, small, folder, target):
    (folder / "file").write_text("no folder")
    ended = run("encode", "small.png", "-o", target, expect=2 if target == "file/" else 5)
    assert ended.stderr.rstrip().endswith(".")
    assert {path.name for path in folder.iterdir()} == {"small.png", "file"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_rights(run, small, folder):
    (folder / "closed").mkdir(mode=0o500)
    run("encode", "small.png", "-o", "closed/x.jpg", expect=5)
    small.chmod(0)
    run("encode", "small.png", expect=3)


def test_a_disk_that_is_full(run, start, small, folder):
    limit = 500  # bytes a file may have: the write of the result ends in the middle

    process = start("encode", "small.png", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 5
    assert b"cannot be written: File too large. " in stderr
    assert {path.name for path in folder.iterdir()} == {"small.png"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_devices_are_written_to_and_not_replaced(run, small, devices):
    ended = run("encode", "small.png", "-o", str(devices["full"]), "--codec", "webp", expect=5)
    assert ended.stderr.endswith("No space left on device. Free some space.\n")
    run("encode", "small.png", "-o", str(devices["null"]))
    assert all(path.is_char_device() for path in devices.values())


NAMES = [
    b"with space.png", b"line\nfeed.png", b"quo'te\".png", b"$(x)`y`;z.png", b"\xff\xfe.png", b"-q.png", b"--force",
    "grün🎈.png".encode(), b"\x1b[31mred.png", b"[red]markup.png", "\u202egnp.png".encode(),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_any_file_name(run, small, folder, name):
    source = os.fsencode(folder) + b"/" + name
    shutil.copy(small, source)
    ended = run("encode", "--json", "--", name)
    (line,) = ended.lines
    assert os.fsencode(line["input"]) == name
    assert Path(os.fsdecode(os.fsencode(folder) + b"/" + os.fsencode(line["output"]))).is_file()
    assert len(ended.stderr.splitlines()) == 1
    assert all(letter.isprintable() for letter in ended.stderr.rstrip("\n"))
    again = run("encode", "--", name, expect=5)
    assert all(letter.isprintable() for letter in again.stderr.rstrip("\n"))
    run("decode", "-o", "back.png", "--", os.fsencode(line["output"]))


def test_odd_names_on_a_real_command_line(launch, small, folder):
    for name in (b"-q.png", b"\xff\n\x1b[31m.png"):
        shutil.copy(small, os.fsencode(folder) + b"/" + name)
    ended = launch("encode", "-o", "out", "--json", "--", b"-q.png", b"\xff\n\x1b[31m.png")
    assert [os.fsencode(line["input"]) for line in ended.lines[:2]] == [b"-q.png", b"\xff\n\x1b[31m.png"]
    assert (folder / "out" / "-q.jpg").is_file()


def test_names_that_are_no_text_in_a_batch(run, small, folder):
    (folder / "odd").mkdir()
    for name in NAMES:
        shutil.copy(small, os.fsencode(folder) + b"/odd/" + name)
    told = run("encode", "odd", "-o", "out", "--json").lines
    assert told[-1]["pictures"] == len(NAMES) - 1  # "--force" has no suffix
    assert len(list((folder / "out").iterdir())) == len(NAMES) - 1


def test_rights_of_the_result_follow_the_umask(start, small, folder):
    process = start("encode", "small.png", preexec_fn=lambda: os.umask(0o027))
    process.communicate(timeout=60)
    assert (folder / "small.jpg").stat().st_mode & 0o777 == 0o640


def test_a_named_pipe(run, start, small, folder):
    os.mkfifo(folder / "pipe.jpg")
    with subprocess.Popen(["cat", "pipe.jpg"], cwd=folder, stdout=subprocess.PIPE) as reader:
        run("encode", "small.png", "-o", "pipe.jpg")
        assert reader.communicate()[0].startswith(b"\xff\xd8\xff")


def test_force_writes_what_a_link_names(run, small, folder):
    (folder / "real.jpg").write_bytes(b"old")
    (folder / "link.jpg").symlink_to("real.jpg")
    run("encode", "small.png", "-o", "link.jpg", "--force")
    assert (folder / "link.jpg").is_symlink()
    assert (folder / "real.jpg").read_bytes().startswith(b"\xff\xd8")
