"""Text: accuracy of characters by hand, and a reader that reads."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from machine.tiny import Means
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from kcompress.errors import MissingProgramError, UsageError, WeightsError
from kcompress.machine.input_transform import InputTransform
from kcompress.machine.model import Layout, LoadedModel, Model
from kcompress.machine.models import open_model
from kcompress.machine.tasks import task
from kcompress.machine.text import character_accuracy, decoded, encoded

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("read", "truth", "expected"),
    [("receipt", "receipt", 1), ("reciept", "receipt", 5 / 7), ("", "ten", 0), ("twelve letters", "one", 0),
     ("a  b\nc", "a b c", 1), ("A", "a", 0), ("something", "", None), ("ab", "abcd", 1 / 2)],
)  # fmt: skip
def test_accuracy_of_characters(read: str, truth: str, expected: float | None) -> None:
    pytest.importorskip("rapidfuzz")
    assert character_accuracy(read, truth) == (None if expected is None else pytest.approx(expected))


def test_text_goes_through_tensors() -> None:
    text = "Grüße, 漢字 \U0001f600\nend"
    assert decoded(encoded(text)) == text and decoded(torch.cat([encoded("a"), torch.zeros(3)])) == "a"


def test_a_reader_of_fixed_answers() -> None:
    """Pictures are read one by one; answers have lengths of their own."""
    pytest.importorskip("rapidfuzz")
    texts = {0: "one", 1: "three words here", 2: ""}
    network = LoadedModel(
        "reader", lambda x: encoded(texts[int(x[0, 0, 0, 0])])[None], lambda: "", trainable=False,
        shape=(1, 3, None, None), layout=Layout.TEXT,
    )  # fmt: skip
    found = task("text", Model("reader", network, InputTransform()))
    pictures = torch.tensor([0.0, 1, 2])[:, None, None, None].expand(3, 3, 8, 8)
    targets = found.pseudo_labels(pictures)
    assert targets.shape == (3, 16)
    outcomes = found.judged(pictures, targets)[0]
    assert outcomes == [1, 1, None] and found.score(outcomes) == 1
    assert found.judged(pictures, targets, ["one", "three", "x"])[0] == [1, 0, 0]
    assert found.score(found.judged(pictures.flip(0), targets)[0]) == pytest.approx(1 / 2), "'' for one is 0"
    assert found.score([]) is None and not found.trainable
    for refused in (lambda: found.class_targets([1]), lambda: found.loss(pictures, targets)):
        with pytest.raises(UsageError, match="the task text has no"):
            refused()


def test_only_readers_read() -> None:
    with pytest.raises(WeightsError, match=r"the model tiny reads no text\. Take --model rapidocr"):
        task("text", Model("tiny", LoadedModel("tiny", Means(), lambda: ""), InputTransform()))


def page() -> Image.Image:
    """Three lines of print."""
    drawn = Image.new("RGB", (420, 130), "white")
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(24)
    for number, line in enumerate(("The quick brown fox", "Total 12.50 EUR", "Thank you")):
        pen.text((12, 8 + 40 * number), line, fill="black", font=font)
    return drawn


def test_rapidocr() -> None:
    pytest.importorskip("rapidocr")
    reader = open_model("rapidocr")
    found = task("text", reader)
    assert len(reader.digest) == 64 and reader.size is None
    pictures = torch.from_numpy(
        np.stack([np.asarray(each) for each in (page(), page().filter(ImageFilter.GaussianBlur(6)))])
    ).permute(0, 3, 1, 2) / 255  # fmt: skip
    targets = found.pseudo_labels(pictures[:1]).expand(2, -1)
    assert decoded(targets[0]) == "The quick brown fox\nTotal 12.50 EUR\nThank you"
    clear, blurred = found.judged(pictures, targets)[0]
    assert clear == 1 and blurred is not None and blurred < 0.7
    with pytest.raises(WeightsError, match="The task classification needs"):
        task("classification", reader)


def test_rapidocr_sees_pixels_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader takes arrays as OpenCV has them; black on white would not tell."""
    rapidocr = pytest.importorskip("rapidocr")
    seen: list[np.ndarray] = []

    def reader(pixels: np.ndarray) -> SimpleNamespace:
        seen.append(pixels)
        return SimpleNamespace(txts=None)

    monkeypatch.setattr(rapidocr, "RapidOCR", lambda params: reader)
    rgb = np.random.default_rng(3).integers(0, 256, (40, 70, 3), np.uint8)
    answer = open_model("rapidocr")(torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255)
    assert answer.shape == (1, 0)
    assert np.array_equal(seen[0], rgb[..., ::-1]) and seen[0].flags.c_contiguous


def test_without_rapidocr(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rapidocr = pytest.importorskip("rapidocr")
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "rapidocr", None)
        with pytest.raises(MissingProgramError, match=r"is not installed\. pip install 'kcompress\[ocr\]'"):
            open_model("rapidocr")
    monkeypatch.setattr(rapidocr, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(MissingProgramError, match=r"has not one model for each of det, cls and rec \(det, cls, rec\)"):
        open_model("rapidocr")
