"""Ctrl-C and SIGTERM in the middle of the work."""

import io
import signal
from pathlib import Path

import pytest
from PIL import Image
from waiting import alive, cpu_seconds, wait_until

from kcompress import programs

GOLDEN = Path(__file__).parent.parent / "golden" / "bpg"


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (96, 64), "red").save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.parametrize(
    "number, code, word",
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "terminated")],
)
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_batch_is_broken_off(start, fake, album, folder, environment, number, code, word, jobs):
    cjpeg = fake("cjpeg", answer=jpeg(), slow=1)
    process = start("encode", "album", "-o", "out", "--effort", "1", "--jobs", str(jobs))
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
    begun = cpu_seconds(process.pid)
    wait_until(lambda: cpu_seconds(process.pid) > begun + 0.3)
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


def test_a_hang_up_that_is_ignored_stays_so(start, fake, album, folder):
    """Under nohup."""
    cjpeg = fake("cjpeg", answer=jpeg())
    ignoring = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    process = start("encode", "album", "-o", "out", "-n", "none", "--jobs", "1", preexec_fn=ignoring)
    wait_until(lambda: len(cjpeg.calls) >= 1)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.skipif(not programs._dying_with_us(), reason="no setpriv here")
@pytest.mark.parametrize("jobs", [1, 3])
def test_encoders_die_with_a_batch_that_is_killed(start, fake, album, jobs):
    cwebp = fake("cwebp", answer=jpeg(), slow=0)
    process = start("encode", "album", "-o", "out", "-n", "none", "--codec", "webp", "--jobs", str(jobs))
    wait_until(lambda: len(cwebp.calls) == jobs)
    process.kill()
    process.communicate(timeout=20)
    wait_until(lambda: not any(alive(call["pid"]) for call in cwebp.calls))
