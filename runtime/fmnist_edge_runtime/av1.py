"""The frames of AV1 data, by their headers alone: how large a decoder makes them.

Sections are those of AV1's specification, version 1.0.0 with errata 1.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

Bytes: TypeAlias = bytes | memoryview

_MOST_UNITS = 100  # in one picture; four are usual
_SEQUENCE, _FRAME_HEADER, _FRAME, _FRAME_HEADER_AGAIN = 1, 3, 6, 7
_KEY, _SWITCH = 0, 3  # kinds of frame
_CHOSEN = 2  # by each frame, in its header
_ALIGNED = 128  # pixels; decoders make room for whole superblocks


class Bits:
    """Numbers from bytes, most significant bit first; ValueError beyond the end."""

    def __init__(self, data: Bytes) -> None:
        """Start at the first bit of ``data``."""
        self._data = data
        self._at = 0

    def number(self, bits: int) -> int:
        """Return the number of so many bits, and go past it."""
        end = self._at + bits
        first, last = self._at // 8, (end + 7) // 8
        if last > len(self._data):
            raise ValueError("a header ends too soon")
        self._at = end
        return int.from_bytes(self._data[first:last], "big") >> (8 * last - end) & ((1 << bits) - 1)

    def numbers(self, *bits: int) -> list[int]:
        """Return several, one after another."""
        return [self.number(each) for each in bits]


class Frame(NamedTuple):
    """The pixels of a frame, and the bytes for each in all its planes."""

    width: int
    height: int
    bytes_a_pixel: float

    @property
    def bytes(self) -> float:
        """What a decoder makes room for."""
        across, down = (side + -side % _ALIGNED for side in (self.width, self.height))
        return across * down * self.bytes_a_pixel


class _Sequence(NamedTuple):
    """What a sequence header says of the frames that follow it."""

    frame: Frame
    largest: Frame  # that a frame's header may ask for instead; decoders do not hold it to the sequence's
    is_reduced: bool  # one frame, whose header asks for nothing
    time_bits: int
    id_bits: int
    screen_tools: int
    integer_motion: int


def frames(data: Bytes) -> Iterator[Frame]:
    """Yield each frame that a decoder may make room for.

    Raises:
        ValueError: ``data`` is not a row of open bitstream units (5.3), or has too many.
    """
    sequence, at, units = None, 0, 0
    while at < len(data):
        units += 1
        if units > _MOST_UNITS:
            raise ValueError(f"more than {_MOST_UNITS} units of AV1 in one picture")
        kind, is_extended, has_size = data[at] >> 3 & 15, data[at] & 4, data[at] & 2  # obu_header (5.3.2)
        at += 2 if is_extended else 1
        size, at = _leb128(data, at) if has_size else (len(data) - at, at)
        if not 0 <= size <= len(data) - at:
            raise ValueError("a unit of AV1 is longer than its picture")
        unit = Bits(data[at : at + size])
        at += size
        if kind == _SEQUENCE:
            sequence = _sequence(unit)
        elif kind in (_FRAME_HEADER, _FRAME, _FRAME_HEADER_AGAIN):
            if sequence is None:
                raise ValueError("a frame of AV1 before any sequence header")
            yield sequence.largest if _has_own_size(unit, sequence) else sequence.frame


def _leb128(data: Bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at`` and where it ends (4.10.5)."""
    value = 0
    for index, byte in enumerate(data[at : at + 8]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, at + index + 1
    raise ValueError("a unit of AV1 without an end")


def _sequence(unit: Bits) -> _Sequence:
    """sequence_header_obu (5.5.1), up to the depth of its colours (5.5.2)."""
    profile, _, is_reduced = unit.numbers(3, 1, 1)
    time_bits = 0
    if is_reduced:
        unit.number(5)  # a level alone
    else:
        time_bits = _operating_points(unit)
    width_bits, height_bits = (bits + 1 for bits in unit.numbers(4, 4))
    width, height = (side + 1 for side in unit.numbers(width_bits, height_bits))
    id_bits, screen_tools, integer_motion = 0, _CHOSEN, _CHOSEN
    if not is_reduced and unit.number(1):  # frame_id_numbers_present_flag
        id_bits = sum(unit.numbers(4, 3)) + 3
    unit.number(3)
    if not is_reduced:
        unit.number(4)
        has_order = unit.number(1)
        unit.number(2 * has_order)
        screen_tools = _CHOSEN if unit.number(1) else unit.number(1)
        integer_motion = _CHOSEN if not screen_tools or unit.number(1) else unit.number(1)
        unit.number(3 * has_order)
    unit.number(3)
    is_deep = unit.number(1)
    unit.number(1 if profile == 2 and is_deep else 0)  # 12 bits instead of 10
    is_grey = profile != 1 and unit.number(1)
    bytes_a_pixel = (1 + is_deep) * (1 if is_grey else 1.5 if profile == 0 else 3)
    return _Sequence(
        frame=Frame(width, height, bytes_a_pixel),
        largest=Frame(1 << width_bits, 1 << height_bits, bytes_a_pixel),
        is_reduced=bool(is_reduced),
        time_bits=time_bits,
        id_bits=id_bits,
        screen_tools=screen_tools,
        integer_motion=integer_motion,
    )


def _operating_points(unit: Bits) -> int:
    """Read past timing_info (5.5.3), decoder_model_info (5.5.4) and the points; return the bits of a frame's time."""
    delay_bits = time_bits = 0
    if unit.number(1):
        unit.numbers(32, 32)
        is_even = unit.number(1)
        if is_even:
            _uvlc(unit)
        if unit.number(1):
            delay_bits, _, _, time_bits = unit.numbers(5, 32, 5, 5)
            delay_bits, time_bits = delay_bits + 1, 0 if is_even else time_bits + 1
    has_display_delay, points = unit.numbers(1, 5)
    for _ in range(points + 1):
        _, level = unit.numbers(12, 5)
        unit.number(1 if level > 7 else 0)
        if delay_bits and unit.number(1):
            unit.numbers(delay_bits, delay_bits, 1)
        if has_display_delay and unit.number(1):
            unit.number(4)
    return time_bits


def _uvlc(unit: Bits) -> None:
    """Read past a number of variable length (4.10.3)."""
    zeros = 0
    while not unit.number(1):
        zeros += 1
        if zeros == 32:
            raise ValueError("a number of AV1 without an end")
    unit.number(zeros)


def _has_own_size(unit: Bits, sequence: _Sequence) -> bool:
    """Return frame_size_override_flag of a frame's header (5.9.2)."""
    if sequence.is_reduced or unit.number(1):  # a frame shown again
        return False
    kind, is_shown = unit.numbers(2, 1)
    unit.number(sequence.time_bits if is_shown else 1)
    if kind != _SWITCH and not (kind == _KEY and is_shown):
        unit.number(1)
    unit.number(1)
    has_screen_tools = unit.number(1) if sequence.screen_tools == _CHOSEN else sequence.screen_tools
    if has_screen_tools and sequence.integer_motion == _CHOSEN:
        unit.number(1)
    unit.number(sequence.id_bits)
    return kind == _SWITCH or bool(unit.number(1))
