"""Writing files: wholly or not at all, through links, into devices, into folders that are not there yet."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kcompress import storage
from kcompress.errors import OutputError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where files are written; no temporary file is left in it, however the test ends."""
    yield tmp_path
    assert not list(tmp_path.rglob(".kcompress-*"))


def test_written_and_overwritten(folder: Path) -> None:
    path = folder / "file"
    for data in (b"first", b"", bytes(100_000), b"last"):
        storage.write(str(path), data)
        assert path.read_bytes() == data
    assert list(folder.iterdir()) == [path]


def test_missing_folders_are_made(folder: Path) -> None:
    storage.write(str(folder / "deep" / "er" / "file"), b"x")
    assert (folder / "deep" / "er" / "file").read_bytes() == b"x"


def test_a_name_below_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    storage.write("plain", b"x")
    storage.write("./a/../grün\n\udcff", b"y")
    assert (folder / "plain").read_bytes() == b"x"
    assert (folder / "grün\n\udcff").read_bytes() == b"y"


def test_rights_follow_the_umask_and_those_of_an_old_file_do_not_count(folder: Path) -> None:
    before = os.umask(0o027)
    try:
        storage.write(str(folder / "file"), b"x")
        (folder / "old").touch(mode=0o600)
        storage.write(str(folder / "old"), b"x")
        assert os.umask(0o027) == 0o027, "it is only looked at"
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o640}


def test_a_link_stays_and_what_it_names_is_written(folder: Path) -> None:
    (folder / "place").mkdir()
    (folder / "place" / "real").write_bytes(b"old")
    (folder / "link").symlink_to("place/real")
    (folder / "second").symlink_to("link")
    (folder / "dangling").symlink_to("place/new")
    storage.write(str(folder / "second"), b"new")
    storage.write(str(folder / "dangling"), b"made")
    assert all((folder / name).is_symlink() for name in ("link", "second", "dangling"))
    assert (folder / "place" / "real").read_bytes() == b"new"
    assert (folder / "place" / "new").read_bytes() == b"made"


def test_a_hard_link_is_left_with_the_old_content(folder: Path) -> None:
    (folder / "one").write_bytes(b"old")
    (folder / "other").hardlink_to(folder / "one")
    storage.write(str(folder / "one"), b"new")
    assert (folder / "other").read_bytes() == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_devices_are_written_to_and_not_replaced(folder: Path, devices: dict[str, Path]) -> None:
    (folder / "link").symlink_to(devices["null"])
    for path in (devices["null"], folder / "link"):
        storage.write(str(path), b"x")
    with pytest.raises(OutputError, match=r"/full cannot be written: No space left on device\. Free some space\."):
        storage.write(str(devices["full"]), b"x")
    assert all(path.is_char_device() for path in devices.values())
    assert (folder / "link").is_symlink()


def test_a_named_pipe_is_written_to(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((folder / "pipe").read_bytes()), daemon=True)
    reader.start()
    storage.write(str(folder / "pipe"), b"x" * 100_000)
    reader.join(timeout=30)
    assert got == [b"x" * 100_000]
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("folder", "Is a directory"), ("file/x", "(Not a directory|File exists)"), ("n" * 300, "File name too long")],
    ids=["folder", "below-a-file", "too-long"],
)
def test_where_nothing_can_be_written(folder: Path, name: str, reason: str) -> None:
    (folder / "folder").mkdir()
    (folder / "file").write_text("precious")
    with pytest.raises(OutputError, match=rf"cannot be written: {reason}\. Check the folder's rights, or give -o\."):
        storage.write(str(folder / name), b"x")
    assert (folder / "file").read_text() == "precious" and (folder / "folder").is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_folder_without_rights(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        storage.write(str(folder / "closed" / "x"), b"x")


def test_a_read_only_file_system(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(OutputError, match=r"cannot be written: Read-only file system\. Check the folder's rights"):
        storage.write(str(folder / "x"), b"x")


def test_a_name_that_is_no_text_is_told_in_ascii(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(OutputError, match=r"\\xff\.jpg cannot be written"):
        storage.write(str(folder / "file" / "\udcff.jpg"), b"x")


def test_a_disk_that_fills_up_leaves_the_old_file(folder: Path) -> None:
    """A limit on the size of files stands in for the disk: the write ends in the middle."""
    (folder / "file").write_bytes(b"old")
    code = (
        "import sys; from kcompress import storage, errors\n"
        "try: storage.write(sys.argv[1], bytes(1 << 20))\n"
        "except errors.OutputError as error: print(error)"
    )

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

    # No byte code: a cut one would be left for all that follow.
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(folder / "file")], preexec_fn=limited, capture_output=True, text=True
    )
    assert "file cannot be written: File too large." in done.stdout, done.stderr
    assert (folder / "file").read_bytes() == b"old"


@pytest.mark.parametrize("step", ["os.fdopen", "pathlib.Path.chmod", "pathlib.Path.replace"])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_the_old_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str, interruption: type[BaseException]
) -> None:
    (folder / "file").write_bytes(b"old")

    def interrupt(*args: object) -> None:
        if step == "os.fdopen":
            os.close(args[0])  # type: ignore[arg-type]
        raise interruption

    monkeypatch.setattr(step, interrupt)
    with pytest.raises(interruption):
        storage.write(str(folder / "file"), b"new")
    monkeypatch.undo()
    assert (folder / "file").read_bytes() == b"old"


def test_a_process_that_ends_at_once_leaves_nothing_half_written(folder: Path) -> None:
    """A worker that is told to end in the middle of a write, as by its parent after Ctrl-C."""
    code = f"""
import os, pathlib
from kcompress import storage, workers
pathlib.Path.replace = lambda here, there: (print(here.exists()), workers._end(15, None))
storage.write({str(folder / "file")!r}, bytes(1000))
"""
    ended = subprocess.run([sys.executable, "-u", "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "True\n", "")
    assert not list(folder.iterdir())


def test_nobody_sees_half_a_file(folder: Path) -> None:
    path = folder / "file"
    contents = [bytes([number]) * 300_000 for number in range(2)]
    storage.write(str(path), contents[0])
    done = threading.Event()
    seen: set[bytes] = set()

    def look() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(100):
            storage.write(str(path), contents[number % 2])
    finally:
        done.set()
        reader.join()
    assert seen <= set(contents)


def test_what_is_a_device(folder: Path) -> None:
    (folder / "file").touch()
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("pipe")
    assert [storage.is_device(str(folder / name)) for name in ("file", "pipe", "link", "missing", "")] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert storage.mode(str(folder / "missing")) == 0
    assert stat.S_ISREG(storage.mode(str(folder / "file")))


@pytest.mark.parametrize("links", [True, False])
def test_without_replace_a_file_that_came_to_be_there_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:  # as on FAT

        def refused(path: Path, target: Path) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(Path, "hardlink_to", refused)
    storage.write(str(folder / "new"), b"x", replace=False)
    assert (folder / "new").read_bytes() == b"x"
    assert (folder / "new").stat().st_nlink == 1
    with pytest.raises(OutputError, match=r"new exists\. Give --force"):
        storage.write(str(folder / "new"), b"y", replace=False)
    (folder / "empty").touch()
    with pytest.raises(OutputError, match="exists"):
        storage.write(str(folder / "empty"), b"y", replace=False)
    assert (folder / "new").read_bytes() == b"x"
    assert (folder / "empty").read_bytes() == b""


def test_of_many_who_write_one_name_one_succeeds(folder: Path) -> None:
    won: list[int] = []

    def write(number: int) -> None:
        try:
            storage.write(str(folder / "file"), bytes([number]) * 1000, replace=False)
        except OutputError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert (folder / "file").read_bytes() == bytes(won) * 1000


def test_a_folder_has_one_user(folder: Path) -> None:
    place = folder / "deep" / "run"
    with storage.sole_user(place):
        with pytest.raises(OutputError, match=r"another kcompress works in .*run\. Wait"), storage.sole_user(place):
            pass
        with storage.sole_user(folder / "other"):
            pass
    with storage.sole_user(place):
        pass
    assert list(place.iterdir()) == []


def test_a_folder_is_free_again_when_its_user_was_killed(folder: Path) -> None:
    code = "import sys, pathlib, time; from kcompress import storage\n"
    code += "with storage.sole_user(pathlib.Path(sys.argv[1])): print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE) as user:
        assert user.stdout is not None and user.stdout.readline() == b"1\n"
        with pytest.raises(OutputError, match="another"), storage.sole_user(folder):
            pass
        user.kill()
    with storage.sole_user(folder):
        pass
