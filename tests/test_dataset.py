"""Pictures of a folder or behind a URL."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kcompress.dataset import DataSet, digest
from kcompress.errors import InputError, MissingProgramError

FILES = ["b.png", "a.jpg", "Z.PNG", "deep/er/d.webp", "deep/c.avif", "ü ?#.png"]
OTHERS = ["notes.txt", "deep/points.csv", "png", ".png", "a.png.tmp"]
IN_ORDER = ["Z.PNG", "a.jpg", "b.png", "deep/c.avif", "deep/er/d.webp", "ü ?#.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES + OTHERS:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "photos"


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """The same pictures in the memory of this process."""
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    for name in FILES + OTHERS:
        files.pipe_file(f"/kcompress-tests/photos/{name}", name.encode())
    yield "memory://kcompress-tests/photos"
    files.rm("/kcompress-tests", recursive=True)


def test_a_folder(folder: Path) -> None:
    photos = DataSet(str(folder))
    assert not photos.is_url
    assert photos.names() == IN_ORDER
    assert [photos.read(name).decode() for name in IN_ORDER] == IN_ORDER


def test_a_folder_with_the_name_of_a_picture_is_none(folder: Path) -> None:
    (folder / "x.png").mkdir()
    assert DataSet(str(folder)).names() == IN_ORDER


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"no picture was found in .*\. Known are .*\.png"):
        DataSet(str(tmp_path)).names()


@pytest.mark.parametrize("name", ["nowhere", "a.jpg"])
def test_no_folder(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is no folder"):
        DataSet(str(folder / name)).names()


@pytest.mark.parametrize("name", ["nothing.png", "deep", "b.png/c.png"])
def test_a_file_that_cannot_be_read(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} cannot be read: .*directory. Check"):
        DataSet(str(folder)).read(name)


@pytest.mark.parametrize("end", ["", "/"])
def test_a_url(url: str, end: str) -> None:
    photos = DataSet(url + end)
    assert photos.is_url
    assert photos.names() == IN_ORDER
    assert [photos.read(name).decode() for name in IN_ORDER] == IN_ORDER


def test_a_url_of_a_folder_is_the_folder(folder: Path) -> None:
    pytest.importorskip("fsspec")
    photos = DataSet(folder.as_uri())
    assert photos.names() == IN_ORDER
    assert photos.read("deep/er/d.webp") == b"deep/er/d.webp"


def test_a_url_without_pictures(url: str) -> None:
    with pytest.raises(InputError, match="no picture was found in memory://kcompress-tests/photos/none"):
        DataSet(f"{url}/none").names()


def test_a_file_behind_a_url_that_is_not_there(url: str) -> None:
    with pytest.raises(InputError, match=r"nothing\.png cannot be read: .*\. Check"):
        DataSet(url).read("nothing.png")


def test_a_url_of_an_unknown_kind() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(InputError, match="nonsense://photos cannot be opened"):
        DataSet("nonsense://photos").names()


def test_a_url_needs_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingProgramError, match=r"pip install 'kcompress\[cluster\]'"):
        DataSet("memory://photos").names()


def test_a_picture_is_known_by_its_bytes() -> None:
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert digest(b"abc") != digest(b"abd")
