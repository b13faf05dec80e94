"""Inputs and weights that cannot be used: a message, an exit code, no file."""

import struct
import zlib

import numpy as np
import pytest
from safetensors.numpy import save_file


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is large."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def broken(whole: bytes) -> dict[str, bytes]:
    middle = len(whole) // 2
    return {
        "empty": b"",
        "truncated": whole[:middle],
        "corrupt": whole[:middle] + bytes(200) + whole[middle + 200 :],
        "no picture": b"I am a text. " * 99,
        "bomb": bomb(50000, 50000),
        "no pixels": bomb(100, 100),
    }


@pytest.mark.parametrize("case, says", [
    ("empty", "is empty"), ("truncated", "whole"), ("corrupt", "whole"), ("no picture", "whole PNG"),
    ("bomb", "KCOMPRESS_MAX_PIXELS"), ("no pixels", "whole"),
])  # fmt: skip
def test_an_input_that_cannot_be_read(run, small, folder, case, says):
    (folder / "odd.png").write_bytes(broken(small.read_bytes())[case])
    ended = run("encode", "odd.png", expect=3)
    (message,) = ended.stderr.splitlines()
    assert message.startswith("kcompress: odd.png ") and says in message
    assert {path.name for path in folder.iterdir()} == {"small.png", "odd.png"}
    (line,) = run("encode", "odd.png", "--json", expect=3).lines
    assert line == {"type": "error", "input": "odd.png", "message": message.removeprefix("kcompress: "), "exit_code": 3}


def test_the_limit_on_pixels_can_be_moved(run, small):
    run("encode", "small.png", expect=3, KCOMPRESS_MAX_PIXELS="6143")
    run("encode", "small.png", KCOMPRESS_MAX_PIXELS="6144")


def test_a_missing_input(run, folder):
    ended = run("encode", "nothing.png", expect=3)
    assert ended.stderr == "kcompress: nothing.png does not exist. Check the path.\n"
    (folder / "nowhere.png").symlink_to("gone.png")
    run("encode", "nowhere.png", expect=3)


def test_sides_beyond_the_codec(run, folder):
    from PIL import Image

    Image.new("L", (16384, 1)).save(folder / "wide.png")
    ended = run("encode", "wide.png", "--codec", "webp", expect=4)
    assert "16384x1" in ended.stderr and "16383" in ended.stderr
    run("encode", "wide.png", "--codec", "jpeg")


@pytest.mark.parametrize("case", ["missing", "garbage", "no metadata", "another network", "odd tensors"])
def test_weights_that_do_not_fit(run, small, folder, case):
    path = folder / "mine.safetensors"
    tensors = {"x": np.zeros(3, np.float32)}
    ours = {"format": "kcompress-1", "arguments": "{}", "network": "kuchen"}
    if case == "garbage":
        path.write_bytes(b"nothing of the kind" * 9)
    elif case != "missing":
        metadata = {"no metadata": None, "another network": {**ours, "network": "torte"}}.get(case, ours)
        save_file(tensors, path, metadata)
    ended = run("encode", "small.png", "--network", "kuchen", "--weights", "mine.safetensors", expect=9)
    assert "mine.safetensors" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not (folder / "small.jpg").exists()
