# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The .ply of Stanford: ascii and binary of either byte order; the element `vertex` holds the points."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from stages.estimation.cloud import Cloud, Columns, records_xyz, with_columns
from stages.estimation.text import read_rows, write_rows

_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}
_NAMES = {"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float"}
_ORDERS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Element:
    """One element of a header: its name, how many there are and its properties as fields."""

    name: str
    count: int
    kind: np.dtype[Any]


@dataclass(frozen=True)
class Ply:
    """The vertices with all their properties, the file's format and its comments."""

    records: NDArray[Any]  # structured (N,)
    format: str
    comments: list[str]


def read_ply(path: Path) -> Cloud:
    """Points of a file; elements other than the vertices are named in the note and not read."""
    raw = path.read_bytes()
    lines, start = _header_lines(path, raw)
    form = next((line.split()[1] for line in lines if line.startswith("format ")), "")
    if form not in _ORDERS:
        raise InputError(f"{path} has format {form!r}; wanted {', '.join(_ORDERS)}")
    elements = _elements(path, lines, _ORDERS[form])
    if not elements or elements[0].name != "vertex":
        raise InputError(f"{path} does not begin with an element vertex; write the points first")
    vertex = elements[0]
    if form == "ascii":
        records = read_rows(path, raw[start:], vertex.kind, vertex.count)
    else:
        records = _binary(path, raw[start:], vertex)
    comments = [line for line in lines if line.startswith(("comment", "obj_info"))]
    others = [element.name for element in elements[1:] if element.count]
    note = f"its elements {', '.join(others)} are left out of the output" if others else ""
    return Cloud(path, records_xyz(records, path), Ply(records, form, comments), note)


def write_ply(cloud: Cloud, columns: Columns) -> bytes:
    """The vertices with more properties, in the same format."""
    ply: Ply = cloud.content
    records = with_columns(ply.records, columns, cloud.path)
    if ply.format != "ascii":
        records = records.astype(records.dtype.newbyteorder(">" if _ORDERS[ply.format] == ">" else "<"))
    kind = records.dtype
    lines = ["ply", f"format {ply.format} 1.0", *ply.comments, f"element vertex {len(records)}"]
    lines += [f"property {_NAMES.get(kind[name].str[1:], 'double')} {name}" for name in kind.names or ()]
    header = "\n".join([*lines, "end_header"]) + "\n"
    return header.encode() + (write_rows(records) if ply.format == "ascii" else records.tobytes())


def _binary(path: Path, body: bytes, vertex: Element) -> NDArray[Any]:
    size = vertex.count * vertex.kind.itemsize
    if len(body) < size:
        raise InputError(f"{path} is truncated: {vertex.count} vertices take {size} bytes, it holds {len(body)}")
    return np.frombuffer(body, vertex.kind, vertex.count)


def _header_lines(path: Path, raw: bytes) -> tuple[list[str], int]:
    end = raw.find(b"end_header")
    stop = raw.find(b"\n", end)
    if not raw.startswith(b"ply") or end < 0 or stop < 0:
        raise InputError(f"{path} has no header from ply to end_header: it is no PLY file, or truncated")
    return [line.strip() for line in raw[:end].decode("ascii", "replace").splitlines()], stop + 1


def _elements(path: Path, lines: list[str], order: str) -> list[Element]:
    parts: list[tuple[str, int, list[tuple[str, str]]]] = []
    for words in (line.split() for line in lines):
        try:
            if words[:1] == ["element"]:
                parts.append((words[1], _count(words[2]), []))
            elif words[:1] == ["property"] and words[1] != "list":
                parts[-1][2].append((words[2], order + _TYPES[words[1]]))
            elif words[:1] == ["property"] and parts[-1][0] == "vertex":
                raise InputError(
                    f"{path} has a list property {words[-1]} in its vertices; wanted one number a property"
                )
        except (IndexError, KeyError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} has a header line that cannot be read: {' '.join(words)}") from error
    for name, _, fields in parts:
        properties = [field for field, _ in fields]
        twice = next((field for field in properties if properties.count(field) > 1), None)
        if twice is not None:
            raise InputError(f"{path} has the property {twice} twice in element {name}; rename one of them")
    return [Element(name, count, np.dtype(fields)) for name, count, fields in parts]


def _count(word: str) -> int:
    count = int(word)
    if count < 0:
        raise ValueError(f"wanted a number of rows, got {count}")
    return count
