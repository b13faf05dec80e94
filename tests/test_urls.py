"""Files behind URLs, in the memory of this process."""

import sys
from typing import Any

import pytest

from kcompress import storage, urls
from kcompress.errors import InputError, MissingProgramError, OutputError

ROOT = "memory://kcompress-urls"


@pytest.fixture
def memory() -> Any:
    files = pytest.importorskip("fsspec").filesystem("memory")
    yield files
    if files.exists("/kcompress-urls"):
        files.rm("/kcompress-urls", recursive=True)


def test_what_was_written_is_read(memory: Any) -> None:
    storage.write(f"{ROOT}/deep/er/a.bin", b"abc")
    assert urls.read(f"{ROOT}/deep/er/a.bin") == b"abc"
    assert (urls.exists(f"{ROOT}/deep/er/a.bin"), urls.exists(f"{ROOT}/a.bin")) == (True, False)
    assert (urls.is_folder(f"{ROOT}/deep"), urls.is_folder(f"{ROOT}/deep/er/a.bin")) == (True, False)
    assert urls.size(f"{ROOT}/deep/er/a.bin") == 3
    assert urls.find(ROOT) == urls.find(f"{ROOT}/") == ["deep/er/a.bin"]
    assert urls.find(f"{ROOT}/nothing") == []


def test_a_file_is_replaced_only_if_it_may_be(memory: Any) -> None:
    storage.write(f"{ROOT}/a", b"1", replace=False)
    with pytest.raises(OutputError, match=r"/a exists\. Give --force"):
        storage.write(f"{ROOT}/a", b"2", replace=False)
    assert urls.read(f"{ROOT}/a") == b"1"
    storage.write(f"{ROOT}/a", b"2")
    assert urls.read(f"{ROOT}/a") == b"2"


def test_a_failed_write_leaves_the_old_file(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that has no put of its own writes piece by piece: the name is given to what is whole."""

    urls.write(f"{ROOT}/a", b"old")

    def torn(self: Any, path: str, value: bytes, **more: Any) -> None:
        with self.open(path, "wb") as stream:
            stream.write(value[:2])
            raise RuntimeError("torn by\nthe network")

    monkeypatch.setattr(type(memory), "pipe_file", torn)
    with pytest.raises(OutputError, match=r"a cannot be written: torn by the network\. Check"):
        urls.write(f"{ROOT}/a", b"new")
    assert urls.read(f"{ROOT}/a") == b"old"


def test_what_cannot_be_read_is_told(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"nothing\.png cannot be read: there is no such file\. Check"):
        urls.read(f"{ROOT}/nothing.png")
    with pytest.raises(InputError, match="nonsense://a cannot be opened"):
        urls.read("nonsense://a")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingProgramError, match=r"s3://bucket/a cannot be opened: Install s3fs"):
        urls.read("s3://bucket/a")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingProgramError, match=r"pip install 'kcompress\[cluster\]'"):
        urls.write("s3://bucket/a", b"")


def test_a_file_url_is_a_path(tmp_path: Any) -> None:
    assert urls.local(f"file://{tmp_path}/a.png") == f"{tmp_path}/a.png"
    assert urls.local("s3://file/a.png") == "s3://file/a.png"
    storage.write(f"file://{tmp_path}/a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert not list(tmp_path.glob(".kcompress-*"))
