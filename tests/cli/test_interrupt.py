"""Ctrl-C and SIGTERM in the middle of the work."""

import io
import signal
import time
from pathlib import Path

import pytest
from PIL import Image

GOLDEN = Path(__file__).parent.parent / "golden" / "bpg"


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (96, 64), "red").save(stream, "JPEG")
    return stream.getvalue()


def wait_until(true) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


@pytest.mark.parametrize(
    "number, code, word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_batch_is_broken_off(start, fake, album, folder, environment, number, code, word, jobs):
    cjpeg = fake("cjpeg", answer=jpeg(), slow=1)
    process = start("encode", "album", "-o", "out", "--jobs", str(jobs))
    wait_until(lambda: len(cjpeg.calls) == jobs + 1)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == code
    assert stderr.decode().splitlines()[-1].startswith(f"kcompress: {word}")
    assert b"Traceback" not in stderr
    assert [path for path in folder.rglob("*") if path.name.startswith(".kcompress")] == []
    assert list(Path(environment["TMPDIR"]).iterdir()) == []
    wait_until(lambda: not any(alive(call["pid"]) for call in cjpeg.calls))
    if jobs == 1:
        assert [path.name for path in (folder / "out").iterdir()] == ["a.jpg"]
        assert (folder / "out" / "a.jpg").read_bytes() == jpeg()


@pytest.mark.parametrize("pictures, jobs", [(["small.png"], 2), (["small.png", "album"], 2)])
def test_a_refinement_is_broken_off(start, fake, small, album, folder, pictures, jobs):
    cjpeg = fake("cjpeg", answer=jpeg())
    process = start("encode", *pictures, "-o", "out/", "--refine", "1000000", "--jobs", str(jobs))
    wait_until(lambda: len(cjpeg.calls) >= 4)  # the file, and three by which it is judged
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert stderr.decode().splitlines()[-1].startswith("kcompress: interrupted")
    assert b"Traceback" not in stderr
    assert not (folder / "out").exists()


def test_scratch_folders_go_too(start, fake, album, folder, environment):
    bpgenc = fake("bpgenc", slow=0)
    process = start("encode", "album", "-o", "out", "--codec", "bpg", "--jobs", "2")
    wait_until(lambda: len(bpgenc.calls) == 2)
    assert list(Path(environment["TMPDIR"]).iterdir()) != []
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert list(Path(environment["TMPDIR"]).iterdir()) == []
    assert not (folder / "out").exists()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
