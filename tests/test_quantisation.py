import io
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from kcompress.codecs import CODECS
from kcompress.codecs.containers.jpeg import is_complete
from kcompress.codecs.jpeg import written_tables
from kcompress.codecs.quantisation import (
    ENCODERS_OWN,
    STANDARD,
    LearnedTables,
    ScaledTables,
    learned,
    scaling,
    tables_named,
)
from kcompress.encoding import Session
from kcompress.errors import InputError, UsageError, WeightsError
from kcompress.images import Image, pnm
from kcompress.inference import weights as weight_files
from kcompress.networks.tables import with_tables
from kcompress.programs import CJPEG

JPEG = CODECS["jpeg"]
PROGRAM, PILLOW = JPEG.backends
MOZJPEG = JPEG.only_by_name[0]
LEARNED = learned()
RISING = ScaledTables("rising", tuple(range(3, 67)), tuple(range(5, 132, 2)))
TURBO = pytest.mark.skipif(
    "libjpeg-turbo" not in (PROGRAM.version() or ""), reason="the cjpeg of libjpeg-turbo is not installed"
)


@pytest.mark.parametrize("tables", [STANDARD, RISING, LEARNED], ids=lambda tables: tables.name)
def test_no_step_grows_with_quality(tables: ScaledTables | LearnedTables) -> None:
    every = np.array([tables.at(quality) for quality in range(101)])
    assert every.shape == (101, 2, 64) and every.min() >= 1 and every.max() <= 255
    assert (np.diff(every, axis=0) <= 0).all()
    assert (every[100] == 1).all(), "as fine as the pixels"
    assert every[10].mean() > 4 * every[80].mean()
    assert all(isinstance(step, int) for step in itertools.chain(*tables.at(60)))


def test_learned_tables_are_neither_libjpegs_nor_flat() -> None:
    for quality in (10, 50, 75, 90):
        luma, chroma = LEARNED.at(quality)
        assert (luma, chroma) != STANDARD.at(quality)
        assert luma != chroma and luma[0] < luma[63]


def test_logarithms_are_linear_between_the_nodes() -> None:
    def flat(*logarithms: float) -> tuple[tuple[float, ...], ...]:
        return (logarithms,) * 64

    tables = LearnedTables((20, 60), flat(np.log(90), np.log(10)), flat(np.log(400), 0))
    assert {tables.at(40)[0][5], tables.at(40)[0][63]} == {30}, "the geometric mean"
    assert tables.at(0) == tables.at(20) == ((90,) * 64, (255,) * 64)
    assert tables.at(60) == tables.at(100) == ((10,) * 64, (1,) * 64)


def test_the_card_has_what_the_tables_are_at_its_nodes() -> None:
    card = json.loads((weight_files.folder() / "tables-jpeg.json").read_bytes())
    for number, quality in enumerate(card["qualities"]):
        steps = [np.exp(card["log_steps"][plane][number]).round().clip(1, 255) for plane in ("luma", "chroma")]
        assert np.array_equal(steps, LEARNED.at(quality))


@TURBO
@pytest.mark.encoders
@pytest.mark.parametrize("tables", [RISING, LEARNED], ids=lambda tables: tables.name)
@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize("kind", ["balloons", "grey", "one_pixel", "thin"])
def test_cjpeg_and_pillow_write_the_same_bytes_and_exactly_these_tables(
    kind: str, chroma: str, tables: ScaledTables | LearnedTables, request: pytest.FixtureRequest
) -> None:
    image, codec = request.getfixturevalue(kind), replace(JPEG, tables=tables)
    for quality, effort in itertools.product((0, 1, 10, 49, 50, 75, 97, 100), (0, 1)):
        setting = codec.setting(quality, chroma, effort)
        ours, theirs = (backend.encode(image, setting) for backend in (PILLOW, PROGRAM))
        assert ours == theirs, f"quality {quality}"
        with Pil.open(io.BytesIO(ours)) as file:
            written = {number: tuple(table) for number, table in file.quantization.items()}
        assert written == dict(enumerate(tables.at(quality)[: 1 if image.grey else 2]))


@TURBO
@pytest.mark.encoders
@pytest.mark.parametrize("quality", [1, 20, 50, 75, 96, 100])
def test_a_file_means_what_it_means_to_cjpeg(quality: int, balloons: Image, tmp_path: Path) -> None:
    file = tmp_path / "tables.txt"
    file.write_text(
        f"# luma\n{' '.join(map(str, RISING.luma))} # and then\n#chroma 7\n\n" + "\n\t".join(map(str, RISING.chroma))
    )
    tables = tables_named(str(file))
    assert tables == replace(RISING, name=str(file))
    arguments = ["-quality", str(quality), "-qtables", str(file), "-sample", "2x2", "-optimize", "-baseline"]
    theirs = CJPEG.run([*arguments, "-progressive"], *pnm(balloons))
    assert PILLOW.encode(balloons, replace(JPEG, tables=tables).setting(quality, effort=1)) == theirs


def test_one_table_serves_both_planes(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("\n".join(["8 9 10 11 12 13 14 255"] * 8))
    found = tables_named(str(tmp_path / "one"))
    assert found is not None
    luma, chroma = found.at(50)
    assert luma == chroma == (8, 9, 10, 11, 12, 13, 14, 255) * 8
    assert found.at(75)[0][:3] == (4, 5, 5)


NUMBERS = ["17"] * 64


@pytest.mark.parametrize(("content", "words"), [
    ("", "0 numbers"), ("# nothing", "0 numbers"), (" ".join(NUMBERS[1:]), "63 numbers"),
    (" ".join(NUMBERS * 3), "192 numbers"), (" ".join([*NUMBERS[1:], "0"]), "0 is no quantiser step"),
    (" ".join([*NUMBERS[1:], "300"]), "300 is no quantiser step"), ("a photo", "a is no quantiser step"),
    (" ".join([*NUMBERS[1:], "-4"]), "-4 is no"), (" ".join([*NUMBERS[1:], "4.5"]), "4.5 is no"),
    (" ".join([*NUMBERS[1:], "²"]), "is no quantiser step"), ("9" * 5000, "9999 is no quantiser step"),
    (",".join(NUMBERS), "17,17"), ("\xff\xd8\0", "is no quantiser step"),
])  # fmt: skip
def test_a_file_without_tables_is_refused(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError, match=words):
        tables_named(str(tmp_path / "bad"))


@pytest.mark.parametrize("name", ["", "missing", ".", "a\0b", "Standard"])
def test_what_is_no_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither auto, standard, learned nor a file"):
        tables_named(str(tmp_path / name))


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "locked").write_text(" ".join(NUMBERS))
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(InputError, match="Permission denied"):
        tables_named(str(tmp_path / "locked"))


def test_names() -> None:
    assert tables_named("auto") is None
    assert tables_named("standard") is STANDARD
    assert tables_named("learned") == LEARNED
    assert [scaling(quality) for quality in (0, 1, 25, 50, 75, 100)] == [5000, 5000, 200, 100, 50, 0]


def card(**changed: object) -> dict[str, object]:
    flat = [[2.0] * 64, [1.0] * 64]
    return {"qualities": [10, 90], "log_steps": {"luma": flat, "chroma": flat}, **changed}


@pytest.mark.parametrize("content", [
    None, b"", b"[]", b"{}", b"\xff", card(qualities=[90, 10]), card(qualities=[10]), card(qualities="ten"),
    card(log_steps={"luma": [[2.0] * 64] * 2}), card(log_steps={"luma": [[1.0] * 64] * 2, "chroma": [[1.0] * 63] * 2}),
    card(log_steps={"luma": [[1.0] * 64, [2.0] * 64], "chroma": [[1.0] * 64] * 2}),
    card(log_steps={"luma": [[float("nan")] * 64] * 2, "chroma": [[1.0] * 64] * 2}),
], ids=str)  # fmt: skip
def test_learned_tables_that_are_missing_or_damaged(
    content: bytes | dict[str, object] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_files, "folder", lambda: tmp_path)
    if content is not None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (tmp_path / "tables-jpeg.json").write_bytes(data)
    with pytest.raises(WeightsError, match="--tables standard"):
        with_tables(JPEG, None, ["rdo"], PILLOW)
    for preprocessors, backend in ((["none"], PILLOW), (["rdo"], MOZJPEG)):
        assert with_tables(JPEG, None, preprocessors, backend) == JPEG, "they are not needed"
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "tables-jpeg.json").write_text(json.dumps(card()))
    monkeypatch.setattr(weight_files, "folder", lambda: tmp_path / "good")
    assert learned().at(10) == ((7,) * 64,) * 2


@pytest.mark.parametrize(("preprocessors", "tables"), [
    (["none"], ENCODERS_OWN), (["shrink"], ENCODERS_OWN), (["kuchen"], ENCODERS_OWN), (["npp"], ENCODERS_OWN),
    (["nlm:h=3"], ENCODERS_OWN), (["rdo"], LEARNED), (["none", "shrink", "rdo"], LEARNED),
])  # fmt: skip
def test_which_tables_go_with_what(preprocessors: list[str], tables: ScaledTables | LearnedTables) -> None:
    assert with_tables(JPEG, None, preprocessors, PILLOW).tables == tables
    assert with_tables(JPEG, RISING, preprocessors, PILLOW).tables == RISING
    assert with_tables(JPEG, None, preprocessors, MOZJPEG) == JPEG


def test_what_has_no_tables_takes_none() -> None:
    webp = CODECS["webp"]
    assert with_tables(webp, None, ["rdo"], webp.backends[-1]) == webp
    with pytest.raises(UsageError, match="webp has no quantisation tables"):
        with_tables(webp, STANDARD, ["none"], webp.backends[-1])
    with pytest.raises(UsageError, match="tables of its own"):
        with_tables(JPEG, STANDARD, ["none"], MOZJPEG)
    assert webp.setting().tables is webp.setting().tables_name is None


@pytest.mark.parametrize("tables", [STANDARD, RISING, LEARNED], ids=lambda tables: tables.name)
def test_another_quality_has_tables_of_the_same_kind(tables: ScaledTables | LearnedTables, balloons: Image) -> None:
    codec = replace(JPEG, tables=tables)
    setting = codec.setting(60, "444", 0)
    assert (setting.tables, setting.tables_name) == (tables.at(60), tables.name)
    assert codec.at(setting, 60) == setting
    assert codec.at(setting, 82) == codec.setting(82, "444", 0)
    session = Session.of(balloons, codec, setting, "pillow")[1]
    assert session.at(82).setting.tables == tables.at(82) == written_tables(PILLOW, session.at(82).setting)
    assert session.at(82).at(60) == session
    files = [each.encode(balloons).data for each in (session, session.at(82))]
    assert len(files[0]) < len(files[1]) and all(map(is_complete, files))


@pytest.mark.skipif(MOZJPEG.version() is None, reason="pyvips is not installed")
def test_a_trellis_has_its_own_tables_whatever_is_asked_for(balloons: Image) -> None:
    found = [
        Session.of(balloons, replace(JPEG, tables=tables), replace(JPEG, tables=tables).setting(60), "mozjpeg")[1]
        for tables in (STANDARD, RISING)
    ]
    assert found[0].setting == found[1].setting
    assert found[0].setting.tables_name == "own"
    assert found[1].at(30).setting.tables == written_tables(MOZJPEG, JPEG.setting(30)) != found[1].setting.tables
