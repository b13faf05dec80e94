"""Pictures and weights that every test can ask for by name."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from pictures import in_grey, load, smooth

from kcompress.images import Image
from kcompress.inference import models
from kcompress.inference import weights as weight_files

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small networks gain nothing from two


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two for folders of tests, more would need much memory; none for files, which are sooner done without."""
    folders = any(Path(argument.partition("::")[0]).is_dir() for argument in config.args)
    return min(2, os.cpu_count() or 1) if folders else 0


@pytest.fixture(scope="session")
def lake() -> Image:
    """Photograph, 640x400."""
    return load("lake.png")


@pytest.fixture(scope="session")
def balloons() -> Image:
    """Photograph with odd sides, 333x217."""
    return load("balloons-333x217.png")


@pytest.fixture(scope="session")
def grey() -> Image:
    """Without colour, 101x67."""
    return in_grey(Image(smooth(101, 67)))


@pytest.fixture(scope="session")
def alpha() -> Image:
    """Partly transparent in all degrees, 97x61."""
    ramp = np.linspace(0, 255, 97).astype(np.uint8)
    return Image(smooth(97, 61), np.ascontiguousarray(np.broadcast_to(ramp, (61, 97))))


@pytest.fixture(scope="session")
def one_pixel() -> Image:
    """1x1."""
    return Image(np.array([[[200, 60, 30]]], np.uint8))


@pytest.fixture(scope="session")
def thin() -> Image:
    """1 wide, 200 tall."""
    return Image(smooth(1, 200))


@pytest.fixture
def devices(tmp_path: Path) -> dict[str, Path]:
    """The devices null and full; for root copies of them, for root could rename a file over /dev/null."""
    if os.geteuid() != 0:
        return {name: Path("/dev", name) for name in ("null", "full")}
    folder = tmp_path / "devices"
    folder.mkdir()
    try:
        for name, minor in (("null", 3), ("full", 7)):
            os.mknod(folder / name, stat.S_IFCHR | 0o666, os.makedev(1, minor))
            (folder / name).write_bytes(b"")  # a file system without devices refuses
    except OSError as error:
        pytest.skip(f"no device can be made here: {error}")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Of torch: small networks gain nothing from two, and on a busy machine threads wait long for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of random weights under the names ar and vqscore; the processes of a run share it."""
    from tiny_weights import write_all  # imports torch

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = shared / "tiny-weights"
    with FileLock(shared / "tiny-weights.lock"):
        if not (folder / "complete").exists():
            folder.mkdir()
            write_all(folder)
            (folder / "complete").touch()
    return folder


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """``shipped(folder)``: that is where the shipped weights lie now."""

    def lie_in(folder: Path) -> None:
        models.shipped_engine.cache_clear()
        monkeypatch.setattr(weight_files, "folder", lambda: folder)

    yield lie_in
    models.shipped_engine.cache_clear()
