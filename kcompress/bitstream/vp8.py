"""Quantisers of a VP8 key frame (RFC 6386, sections 7, 9.2 to 9.6), which WebP's lossy pictures are."""


def quantisers(frame: bytes) -> list[int]:
    """Quantiser indices 0..127 of the frame's segments, 0 finest; one where it has no segments.

    Raises:
        ValueError: it is no key frame.
    """
    if len(frame) < 11 or frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
        raise ValueError("no VP8 key frame")
    bits = _BoolDecoder(frame[10:])
    bits.read(2)  # colour space, clamping
    values: list[int] | None = None
    absolute = False
    if bits.read(1):  # segments
        has_map, has_data = bits.read(1), bits.read(1)
        if has_data:
            absolute = bool(bits.read(1))
            values = [bits.optional(7) for _ in range(4)]
            for _ in range(4):
                bits.optional(6)
        if has_map:
            for _ in range(3):
                if bits.read(1):
                    bits.read(8)
    bits.read(1 + 6 + 3)  # loop filter
    if bits.read(1) and bits.read(1):
        for _ in range(8):
            bits.optional(6)
    bits.read(2)  # partitions
    base = bits.read(7)
    if values is None:
        return [base]
    return [min(127, max(0, value if absolute else base + value)) for value in values]


class _BoolDecoder:
    """Section 7's decoder, for bits of even odds; zeros follow the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 2
        self._value = int.from_bytes(data[:2].ljust(2, b"\0"), "big")
        self._range, self._count = 255, 0

    def read(self, width: int) -> int:
        """An unsigned number, its highest bit first."""
        found = 0
        for _ in range(width):
            found = 2 * found + self._bit()
        return found

    def optional(self, width: int) -> int:
        """A number with a flag before it and its sign behind; 0 where the flag is not set."""
        if not self.read(1):
            return 0
        value = self.read(width)
        return -value if self.read(1) else value

    def _bit(self) -> int:
        split = 1 + ((self._range - 1) * 128 >> 8)
        bit = self._value >= split << 8
        if bit:
            self._range -= split
            self._value -= split << 8
        else:
            self._range = split
        while self._range < 128:
            self._value <<= 1
            self._range <<= 1
            self._count += 1
            if self._count == 8:
                self._count = 0
                self._value |= self._data[self._place] if self._place < len(self._data) else 0
                self._place += 1
        return int(bit)
