"""The lines of ``--json``: programs depend on every name and type here."""

import json

import pytest

ENCODED = {
    "type": str, "input": str, "output": str, "codec": str, "backend": str, "version": str, "network": str,
    "quality": int, "chroma": str, "bits": int, "effort": int, "sharp_yuv": bool, "parameters": dict,
    "tables": type(None), "width": int, "height": int, "input_bytes": int,
    "output_bytes": int, "saving": float, "bpp": float, "network_seconds": float, "codec_seconds": float,
    "kept": type(None),
    "notes": list,
}  # fmt: skip
ERROR = {"type": str, "input": str, "message": str, "exit_code": int}
SUMMARY = {
    "type": str, "pictures": int, "failed": int, "input_bytes": int, "output_bytes": int, "seconds": float,
}  # fmt: skip


def kinds(line):
    return [(key, type(value)) for key, value in line.items()]


def test_fields_and_their_order(run, album, folder):
    (album / "b.png").write_bytes(b"broken")
    lines = run("encode", "album", "-o", "out", "--codec", "webp", "--json", expect=1).lines
    assert [line["type"] for line in lines] == ["encoded", "error", "encoded", "encoded", "summary"]
    for line in lines:
        expected = {"encoded": ENCODED, "error": ERROR, "summary": SUMMARY}[line["type"]]
        assert kinds(line) == list(expected.items())


def test_the_numbers_are_those_of_the_files(run, album, folder):
    (album / "b.png").write_bytes(b"broken")
    *lines, summary = run("encode", "album", "-o", "out", "--json", expect=1).lines
    done = [line for line in lines if line["type"] == "encoded"]
    for line in done:
        size, before = (folder / line["output"]).stat().st_size, (folder / line["input"]).stat().st_size
        assert (line["input_bytes"], line["output_bytes"]) == (before, size)
        assert line["bpp"] == round(8 * size / (96 * 64), 6)
        assert line["saving"] == round(1 - size / before, 6)
        assert (line["width"], line["height"], line["quality"], line["chroma"]) == (96, 64, 75, "420")
    assert summary["pictures"] == 4 and summary["failed"] == 1
    assert summary["input_bytes"] == sum(line["input_bytes"] for line in done)
    assert summary["output_bytes"] == sum(line["output_bytes"] for line in done)


def test_one_picture_has_one_line_and_no_summary(run, small):
    assert [line["type"] for line in run("encode", "small.png", "--json").lines] == ["encoded"]


def test_a_larger_result_is_a_note(run, small):
    run("encode", "small.png", "-q", "1", "-o", "tiny.webp")
    (line,) = run("encode", "tiny.webp", "-q", "100", "-o", "huge.jpg", "--json").lines
    assert line["saving"] < 0
    assert "larger than the input" in line["notes"][-1]


def test_it_is_ascii(run, small, folder):
    small.rename(folder / "grün\udcff.png")
    raw = run("encode", "grün\udcff.png", "--json").stdout
    assert raw.isascii() and json.loads(raw)["input"] == "grün\udcff.png"


@pytest.mark.parametrize(("arguments", "code"), [
    (["encode", "small.png", "-q", "101"], 2), (["encode", "small.png", "--codec", "gif"], 2),
    (["encode", "small.png", "-q", "much"], 2), (["encode", "--wrong", "small.png"], 2), (["encode"], 2),
    (["encode", "absent.png"], 3), (["compare", "small.png", "absent.png"], 3), (["label", "absent/"], 3),
    (["train", "absent/"], 3), (["train", "small.png", "--steps", "0"], 2),
])  # fmt: skip
def test_errors_of_options_and_of_whole_commands_are_one_line(run, small, arguments, code):
    ended = run(*arguments, "--json", expect=code)
    (line,) = ended.lines
    assert list(line) == list(ERROR) and (line["type"], line["exit_code"]) == ("error", code)
    assert line["input"] == ("absent.png" if arguments == ["encode", "absent.png"] else None)
    assert line["message"] in " ".join(ended.stderr.split())
    assert run(*arguments, expect=code).stdout == b""
