# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The .pcd of the Point Cloud Library: ascii, binary and binary_compressed."""

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from stages.estimation.cloud import Cloud, Columns, records_xyz, with_columns
from stages.estimation.lzf import decompress
from stages.estimation.text import read_rows, write_rows

_IDENTITY = "0 0 0 1 0 0 0"
_TYPES = {"F": "f", "I": "i", "U": "u"}
_LETTERS = {kind: letter for letter, kind in _TYPES.items()}


@dataclass(frozen=True)
class Pcd:
    """A file's points with all their fields, and the parts of its header that the points do not tell.

    Attributes:
        records: structured  # (N,)
        size: WIDTH and HEIGHT: an organised cloud keeps its rows and columns.
        viewpoint: VIEWPOINT as it stands.
        data: `ascii`, `binary` or `binary_compressed`.
    """

    records: NDArray[Any]
    size: tuple[int, int]
    viewpoint: str
    data: str


def read_pcd(path: Path) -> Cloud:
    """Points of a file of version 0.7 or like it."""
    raw = path.read_bytes()
    header, start = _header(path, raw)
    kind = _dtype(path, header)
    width, height = (_whole(path, header, name) for name in ("WIDTH", "HEIGHT"))
    data = header["DATA"].lower()
    body = raw[start:]
    if data == "ascii":
        records = read_rows(path, body, kind, width * height)
    elif data in ("binary", "binary_compressed"):
        blocks = data == "binary_compressed"
        if blocks:
            body = _decompressed(path, body)
        if len(body) < width * height * kind.itemsize:
            raise InputError(
                f"{path} is truncated: {width * height} points take {width * height * kind.itemsize} bytes, "
                f"it holds {len(body)}"
            )
        records = _blocks(body, kind, width * height) if blocks else np.frombuffer(body, kind, width * height)
    else:
        raise InputError(f"{path} has DATA {data!r}; wanted ascii, binary or binary_compressed")
    viewpoint = header.get("VIEWPOINT", _IDENTITY)
    content = Pcd(records, (width, height), viewpoint, data)
    return Cloud(path, records_xyz(records, path), content, _viewpoint_note(viewpoint))


def write_pcd(cloud: Cloud, columns: Columns) -> bytes:
    """The same points with more fields, text as text, binary and compressed as binary."""
    pcd: Pcd = cloud.content
    extended = replace(pcd, records=with_columns(pcd.records, columns, cloud.path))
    text = pcd.data == "ascii"
    body = write_rows(extended.records) if text else extended.records.tobytes()
    return _header_text(extended, "ascii" if text else "binary").encode() + body


def _header(path: Path, raw: bytes) -> tuple[dict[str, str], int]:
    header: dict[str, str] = {}
    position = 0
    while "DATA" not in header:
        end = raw.find(b"\n", position)
        if end < 0 or end - position > 10_000:
            raise InputError(f"{path} has no line DATA: it is no PCD file, or truncated")
        line = raw[position:end].decode("ascii", "replace").strip()
        position = end + 1
        if line and not line.startswith("#"):
            name, _, value = line.partition(" ")
            header[name.upper()] = value.strip()
    missing = [name for name in ("FIELDS", "SIZE", "TYPE", "WIDTH", "HEIGHT") if name not in header]
    if missing:
        raise InputError(f"{path} has no line {missing[0]} in its header")
    return header, position


def _dtype(path: Path, header: dict[str, str]) -> np.dtype[Any]:
    names, sizes, types = (header[name].split() for name in ("FIELDS", "SIZE", "TYPE"))
    counts = header.get("COUNT", " ".join("1" for _ in names)).split()
    if len({len(names), len(sizes), len(types), len(counts)}) != 1:
        raise InputError(f"{path} has {len(names)} FIELDS, {len(sizes)} SIZE, {len(types)} TYPE, {len(counts)} COUNT")
    try:
        # Padding is written as fields of the one name "_".
        unique = [f"_{i}" if name == "_" else name for i, name in enumerate(names)]
        single = [np.dtype(f"<{_TYPES[kind.upper()]}{size}") for kind, size in zip(types, sizes, strict=True)]
        many = [int(count) for count in counts]
        return np.dtype([(n, k) if c == 1 else (n, k, (c,)) for n, k, c in zip(unique, single, many, strict=True)])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} has a header that names no numbers ({error})") from error


def _whole(path: Path, header: dict[str, str], name: str) -> int:
    if not header[name].isdigit():
        raise InputError(f"{path} has {name} {header[name]!r}, wanted a whole number")
    return int(header[name])


def _decompressed(path: Path, body: bytes) -> bytes:
    if len(body) < 8:
        raise InputError(f"{path} is truncated before its compressed points")
    packed, unpacked = struct.unpack("<II", body[:8])
    if len(body) < 8 + packed:
        raise InputError(
            f"{path} is truncated: {packed} bytes of compressed points are told, {len(body) - 8} are there"
        )
    try:
        return decompress(body[8 : 8 + packed], unpacked)
    except ValueError as error:
        raise InputError(f"{path} has damaged compressed points ({error})") from error


def _blocks(body: bytes, kind: np.dtype[Any], count: int) -> NDArray[Any]:
    """Compressed files hold field after field, not point after point."""
    records = np.empty(count, dtype=kind)
    position = 0
    for name in kind.names or ():
        field = np.frombuffer(body, kind[name], count, position)
        records[name] = field
        position += count * kind[name].itemsize
    return records


def _header_text(pcd: Pcd, data: str) -> str:
    kind = pcd.records.dtype
    fields = [(name, *(kind[name].subdtype or (kind[name], (1,)))) for name in kind.names or ()]
    lines = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        "FIELDS " + " ".join("_" if name.startswith("_") else name for name, _, _ in fields),
        "SIZE " + " ".join(str(base.itemsize) for _, base, _ in fields),
        "TYPE " + " ".join(_LETTERS[base.kind] for _, base, _ in fields),
        "COUNT " + " ".join(str(shape[0]) for _, _, shape in fields),
        f"WIDTH {pcd.size[0]}",
        f"HEIGHT {pcd.size[1]}",
        f"VIEWPOINT {pcd.viewpoint}",
        f"POINTS {len(pcd.records)}",
        f"DATA {data}",
    ]
    return "\n".join(lines) + "\n"


def _viewpoint_note(viewpoint: str) -> str:
    try:
        identity = [float(value) for value in viewpoint.split()] == [0, 0, 0, 1, 0, 0, 0]
    except ValueError:
        identity = False
    if identity:
        return ""
    return "its VIEWPOINT is a pose, which is not read: points must be in the vehicle's frame, poses in --poses"
