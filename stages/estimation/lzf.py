# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""LZF, the compression inside .pcd files."""

_LITERALS = 32  # control bytes below start a run of literals


def decompress(data: bytes, size: int) -> bytes:
    """The bytes that LZF packed.

    A control byte below 32 is followed by that many literals and one more. Any other holds a length in its upper
    three bits (7: one more byte adds to it), two less than what is copied, and the upper five bits of a distance back
    in the output, whose lower eight bits follow; the distance is one less than how far back to look.

    Args:
        data: packed bytes.
        size: how many come out.

    Raises:
        ValueError: the data end early, point before their beginning or give another size.
    """
    result = bytearray()
    position = 0
    try:
        while position < len(data):
            control = data[position]
            position += 1
            if control < _LITERALS:
                result += data[position : position + control + 1]
                position += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[position]
                position += 1
            distance = ((control & 31) << 8) + data[position] + 1
            position += 1
            _copy(result, distance, length + 2)
    except IndexError:
        raise ValueError("they end within a reference") from None
    if len(result) != size:
        raise ValueError(f"they give {len(result)} bytes, not {size}")
    return bytes(result)


def _copy(result: bytearray, distance: int, length: int) -> None:
    start = len(result) - distance
    if start < 0:
        raise ValueError(f"a reference looks {distance} bytes back after {len(result)}")
    piece = result[start : start + length]
    while len(piece) < length:  # the copy overlaps what it writes: a pattern that repeats
        piece += piece[: length - len(piece)]
    result += piece
