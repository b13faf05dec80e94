"""A data set: a folder of pictures, or anything that fsspec reads by its URL."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from kcompress import urls
from kcompress.errors import InputError
from kcompress.images import SUFFIXES


@dataclass(frozen=True)
class DataSet:
    """Where pictures are.

    Attributes:
        location: a folder, or a URL with ``://`` (needs ``kcompress[cluster]``).
    """

    location: str

    @property
    def is_url(self) -> bool:
        """Whether fsspec has to read it."""
        return urls.is_url(self.location)

    def absolute(self) -> "DataSet":
        """The same, as every worker finds it, wherever it was started."""
        return self if self.is_url else DataSet(str(Path(self.location).absolute()))

    def names(self) -> list[str]:
        """Pictures below the location, as paths relative to it, in order.

        Raises:
            InputError: no such place, or no picture in it.
            MissingProgramError: a URL, and fsspec is not installed.
        """
        found = sorted(name for name in self._files() if Path(name).suffix.lower() in SUFFIXES)
        if not found:
            raise InputError(f"no picture was found in {self.location}. Known are {' '.join(sorted(SUFFIXES))} files.")
        return found

    def read(self, name: str) -> bytes:
        """A picture's file.

        Raises:
            InputError: it cannot be read.
        """
        if self.is_url:
            return urls.read(f"{self.location.rstrip('/')}/{name}")
        try:
            return (Path(self.location) / name).read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"{name} cannot be read: {reason}. Check the path and its rights.") from error

    def _files(self) -> list[str]:
        if self.is_url:
            return urls.find(self.location)
        folder = Path(self.location)
        if not folder.is_dir():
            raise InputError(f"{self.location} is no folder. Give a folder of pictures.")
        return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def digest(data: bytes) -> str:
    """SHA-256 of a picture's file, by which it is known again wherever it lies."""
    return hashlib.sha256(data).hexdigest()


def is_held_out(sha256: str, share: float) -> bool:
    """Whether a picture belongs to the part that is not trained on: by its bytes alone, so it never changes sides."""
    return int(sha256[:8], 16) < share * 2**32
