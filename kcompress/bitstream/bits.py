"""Bit strings as HEVC, AV1 and BPG write them: big-endian bits, Exp-Golomb codes."""

LARGEST = (1 << 32) - 2
"""Largest value of an Exp-Golomb code in H.265."""


class BitReader:
    """Reads bits from the most significant on.

    Raises:
        EOFError: from every method, past the end.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def u(self, count: int) -> int:
        """Unsigned number of ``count`` bits."""
        end = self.position + count
        if end > 8 * len(self.data):
            raise EOFError("the bit string ends too early")
        first, last = self.position // 8, (end + 7) // 8
        value = int.from_bytes(self.data[first:last], "big") >> (8 * last - end)
        self.position = end
        return value & ((1 << count) - 1)

    def ue(self, highest: int = LARGEST) -> int:
        """Unsigned Exp-Golomb code (H.265, section 9.2).

        Raises:
            ValueError: more than ``highest``, which the format allows at this place.
        """
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 31:
                raise ValueError("a number is longer than 32 bits")
        value = (1 << zeros) - 1 + self.u(zeros)
        if value > highest:
            raise ValueError(f"a number is {value}, where {highest} is the most")
        return value


class BitWriter:
    """Writes bits from the most significant on."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def u(self, value: int, count: int) -> "BitWriter":
        """Append an unsigned number of ``count`` bits."""
        self._bits.append(f"{value:0{count}b}" if count else "")
        return self

    def ue(self, value: int) -> "BitWriter":
        """Append an unsigned Exp-Golomb code."""
        length = (value + 1).bit_length()
        return self.u(value + 1, 2 * length - 1)

    def bytes(self) -> bytes:
        """All bits, filled with zeros to a whole byte."""
        text = "".join(self._bits)
        text += "0" * (-len(text) % 8)
        return int(text or "0", 2).to_bytes(len(text) // 8, "big")
