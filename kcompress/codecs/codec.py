"""Codec: a quality scale, limits, and the backends that encode."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Protocol, get_args

from kcompress.codecs.lossless import Lossless
from kcompress.codecs.quantisation import QuantisationTables
from kcompress.errors import MissingProgramError, UnsupportedError, UsageError
from kcompress.images import Image, is_grey_profile
from kcompress.images.jpeg import remarks
from kcompress.setting import Chroma, Setting


class Backend(Protocol):
    """One way to run a codec: an external program, or a library that came with the package."""

    name: str
    install: str
    """Instruction to install it, for people."""
    bits: tuple[int, ...] = (8,)
    """Bits a sample that it can write."""
    chromas: tuple[Chroma, ...] | None = None
    """Samplings that it can write; None for all of the codec."""

    @property
    def trellis(self) -> bool:
        """Whether it decides on levels itself instead of rounding, where no tables are chosen, by its own."""
        return False

    @property
    def takes_tables(self) -> bool:
        """Whether quantisation tables can be chosen, by which it then rounds."""
        return not self.trellis

    @property
    def takes_parameters(self) -> bool:
        """Whether it obeys the codec's parameters."""
        return True

    @property
    def sharp_yuv(self) -> bool:
        """Whether it can compute sharp chroma."""
        return False

    @property
    def takes_planes(self) -> bool:
        """Whether it encodes levels that are not rounded: `images.Image.remainder`."""
        return False

    def version(self) -> str | None:
        """Version of the encoder; None where it is not available."""
        ...

    def cannot(self, setting: Setting) -> str | None:
        """Why this backend cannot write a setting that the codec can; None where it can."""
        for option, value, known in (("bits", setting.bits, self.bits), ("chroma", setting.chroma, self.chromas)):
            if known is not None and value not in known:
                return f"--{option} {value}: the backend {self.name} has only {', '.join(map(str, known))}"
        return None

    def refuses(self, image: Image) -> str | None:
        """Why this backend cannot take a picture that the codec can; None where it can."""
        return None

    def encode(self, image: Image, setting: Setting) -> bytes:
        """A complete file.

        Raises:
            ProgramError: the encoder failed.
        """
        ...


@dataclass(frozen=True)
class Scale:
    """A range of whole numbers with a default; ``finest`` is the end of best quality (or least effort)."""

    finest: int
    coarsest: int
    default: int

    @property
    def ends(self) -> tuple[int, int]:
        """Finest and coarsest value."""
        return self.finest, self.coarsest

    def checked(self, value: int | None, option: str, codec: str) -> int:
        """The value, or the default for None.

        Raises:
            UsageError: out of range.
        """
        if value is None:
            return self.default
        low, high = sorted((self.finest, self.coarsest))
        if not low <= value <= high:
            raise UsageError(f"{option} {value} is not on the scale of {codec}. Allowed: {low}..{high}.")
        return value

    def up_to(self, finest: int) -> range:
        """Values from the coarsest to this one."""
        step = 1 if self.finest > self.coarsest else -1
        return range(self.coarsest, finest + step, step)

    def coarseness(self, value: int) -> float:
        """0 at the finest end .. 1 at the coarsest."""
        return (value - self.finest) / (self.coarsest - self.finest)

    def nearest(self, coarseness: float) -> int:
        """Value of a coarseness 0..1."""
        return round(self.finest + coarseness * (self.coarsest - self.finest))


@dataclass(frozen=True)
class Parameter:
    """A number that an encoder takes by name, and the codec's own choice."""

    default: str
    lowest: float
    highest: float
    whole: bool = True

    def checked(self, name: str, text: str) -> str:
        """The number of a text, as the encoder takes it.

        Raises:
            UsageError: it is none, or out of range.
        """
        try:
            number = float(text)
        except ValueError:
            number = nan
        if not self.lowest <= number <= self.highest or (self.whole and number % 1):
            kind = " in whole numbers" if self.whole else ""
            raise UsageError(
                f"--param {name}={text} is not possible. Allowed: {self.lowest:g}..{self.highest:g}{kind}."
            )
        return f"{number:g}"


@dataclass(frozen=True)
class Codec:
    """One codec.

    Attributes:
        name: as the user types it.
        suffixes: of its files; the first is the one that is written.
        raw_suffixes: of its bare streams without a container.
        quality: its native scale.
        effort: its own scale; more is slower and smaller.
        quick_effort: loses about the same of a picture as the default in less time; None where none does.
        plain_effort: of the encoder as it comes, with which bench compares; None for the default.
        chromas: samplings it can write; the first is the default.
        sharp_yuv: whether chroma is sharp by default; None where there is no choice.
        bits: of a sample that it can write; the first is the default.
        max_side: pixels.
        alpha: whether its files can hold an alpha channel.
        grey: whether its files can hold one plane alone; otherwise grey is coded as colour.
        segments: whether its files can hold what people wrote into JPEG files beside EXIF and XMP.
        backends: in the order they are tried.
        only_by_name: backends taken only when asked for.
        parameters: of its encoder, by name, with the values that measure best.
        tables: of JPEG, its quantisation tables; the same codec with others is another one.
        is_complete: whether a backend's bytes are a whole file; None where the container checks them.
        add_metadata: puts profile, EXIF and XMP into a file of backends that write none.
        lossless: writes files without loss, or nearly so; None where it has none.
        kin: name of a codec that compresses alike, whose weights serve this one.
    """

    name: str
    suffixes: tuple[str, ...]
    quality: Scale
    effort: Scale
    chromas: tuple[Chroma, ...]
    max_side: int
    alpha: bool
    backends: tuple[Backend, ...]
    bits: tuple[int, ...] = (8,)
    grey: bool = True
    segments: bool = False
    only_by_name: tuple[Backend, ...] = ()
    plain_effort: int | None = None
    raw_suffixes: tuple[str, ...] = ()
    quick_effort: int | None = None
    sharp_yuv: bool | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    tables: QuantisationTables | None = None
    is_complete: Callable[[bytes], bool] | None = None
    add_metadata: Callable[[bytes, Image], tuple[bytes, list[str]]] | None = None
    lossless: Lossless | None = None
    kin: str | None = None

    def setting(
        self, quality: int | None = None, chroma: str | None = None, effort: int | None = None, *,
        sharp_yuv: bool | None = None, raw: bool = False, bits: int | None = None,
        parameters: Iterable[tuple[str, str]] = (),
    ) -> Setting:  # fmt: skip
        """Check what is asked for, fill in the defaults.

        Raises:
            UsageError: a value the codec does not have.
        """
        quality = self.quality.checked(quality, "--quality", self.name)
        effort = self.effort.checked(effort, "--effort", self.name)
        if chroma is not None and chroma not in get_args(Chroma):
            raise UsageError(f"--chroma {chroma} is not known. Allowed: {', '.join(get_args(Chroma))}.")
        chosen = next((known for known in self.chromas if chroma in (None, known)), None)
        if chosen is None:
            raise UsageError(f"--chroma {chroma}: {self.name} has only {', '.join(self.chromas)}. Leave it out.")
        if sharp_yuv is not None and self.sharp_yuv is None:
            raise UsageError(f"--{'' if sharp_yuv else 'no-'}sharp-yuv: {self.name} has no such choice. Leave it out.")
        sharp = bool(self.sharp_yuv if sharp_yuv is None else sharp_yuv)
        bits = self.bits[0] if bits is None else bits
        if bits not in self.bits:
            raise UsageError(f"--bits {bits}: {self.name} has only {', '.join(map(str, self.bits))}. Leave it out.")
        tables, name = (self.tables.at(quality), self.tables.name) if self.tables else (None, None)
        return Setting(
            self.name, quality, self.quality.coarseness(quality), chosen, effort, sharp, raw, tables, name, bits=bits,
            parameters=self._parameters(parameters),
        )  # fmt: skip

    def _parameters(self, changed: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """All parameters, with the last value that is given for each."""
        found = {name: parameter.default for name, parameter in self.parameters.items()}
        for name, value in changed:
            if name not in found:
                known = f"Allowed: {', '.join(found)}." if found else "It has none: leave it out."
                raise UsageError(f"--param {name}={value}: {self.name} has no parameter of this name. {known}")
            found[name] = self.parameters[name].checked(name, value)
        return tuple(found.items())

    def at(self, setting: Setting, quality: int) -> Setting:
        """A setting of this codec at another quality, by the codec's own tables.

        Raises:
            UsageError: a quality the codec does not have.
        """
        sharp = None if self.sharp_yuv is None else setting.sharp_yuv
        return self.setting(
            quality, setting.chroma, setting.effort, sharp_yuv=sharp, raw=setting.raw, bits=setting.bits,
            parameters=setting.parameters,
        )  # fmt: skip

    def conformed(self, image: Image) -> Image:
        """The picture as the codec can hold it, checked before any work.

        Raises:
            UnsupportedError: a side is too long, or there is transparency and the codec has none.
        """
        self.check_sides(image.width, image.height)
        if image.alpha is not None and not self.alpha:
            raise UnsupportedError(
                f"the picture is partly transparent and {self.name} has no alpha channel. "
                "Give --background white (or any colour), or take --codec webp."
            )
        # Samples that become colour cannot keep a profile for grey ones.
        has_grey_profile = image.icc is not None and is_grey_profile(image.icc)
        return image.in_srgb() if has_grey_profile and not self.grey else image

    def check_sides(self, width: int, height: int) -> None:
        """Refuse a picture by its size alone, which is known before it is decoded.

        Raises:
            UnsupportedError: a side is too long.
        """
        if max(width, height) > self.max_side:
            raise UnsupportedError(
                f"{width}x{height} pixels: {self.name} takes sides of at most {self.max_side}. "
                "Make the picture smaller or take another --codec."
            )

    def with_metadata(self, data: bytes, image: Image, setting: Setting) -> tuple[bytes, list[str]]:
        """A backend's file with the picture's metadata in it, and notes about what it cannot hold."""
        lost = [] if self.segments else remarks(image.segments)
        left_out = [f"only JPEG files can hold its {' and '.join(lost)}: left out"] if lost else []
        if setting.raw:
            return data, [*_raw_notes(image, setting), *left_out]
        data, notes = self.add_metadata(data, image) if self.add_metadata else (data, [])
        return data, [*notes, *left_out]

    def backend(self, name: str = "auto", image: Image | None = None, setting: Setting | None = None) -> Backend:
        """The backend of this name, or for ``auto`` the first that is there, takes the picture and writes the setting.

        Raises:
            UsageError: no backend has this name, or the one that has it cannot write the setting's bits or chroma.
            MissingProgramError: it, or for ``auto`` every one, is not available.
            UnsupportedError: the backend asked for cannot take this picture.
        """
        known = (*self.backends, *self.only_by_name)
        if name == "auto":
            able = [backend for backend in self.backends if setting is None or backend.cannot(setting) is None]
            for backend in able:
                if backend.version() is not None and (image is None or backend.refuses(image) is None):
                    return backend
            ways = " Or: ".join(backend.install for backend in able)
            which = f"{self.name} of {setting.bits} bits" if setting and setting.bits != self.bits[0] else self.name
            raise MissingProgramError(f"no encoder for {which} is installed. {ways}")
        chosen = next((backend for backend in known if backend.name == name), None)
        if chosen is None:
            names = ", ".join(backend.name for backend in known)
            raise UsageError(f"--backend {name}: {self.name} has none of this name. Allowed: auto, {names}.")
        lacking = None if setting is None else chosen.cannot(setting)
        if lacking is not None:
            raise UsageError(f"{lacking}. Leave one out.")
        if chosen.version() is None:
            raise MissingProgramError(f"--backend {name} is not installed. {chosen.install}")
        reason = None if image is None else chosen.refuses(image)
        if reason is not None:
            raise UnsupportedError(f"--backend {name} {reason}. Leave --backend out.")
        return chosen


def _raw_notes(image: Image, setting: Setting) -> list[str]:
    """Notes on parts of a picture that a bare stream leaves out."""
    notes = []
    if setting.chroma == "420" and not image.grey and (image.width % 2 or image.height % 2):
        notes.append("a bare 4:2:0 stream has even sides: the last row or column stands there twice")
    if image.alpha is not None:
        notes.append("a bare stream has no alpha channel: it was left out (write .heic to keep it)")
    if image.icc or image.exif or image.xmp:
        notes.append("a bare stream has no metadata: profile, EXIF and XMP were left out (write .heic to keep them)")
    return notes
