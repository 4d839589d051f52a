# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Reads a torch checkpoint without running anything in it.

A pickle names functions and calls them. Here each name is looked up in a short list; what is on it builds inert
values, and any other name ends the reading before anything is called. Nothing of the file's own packages is imported.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError

# Classes of a training framework's records that hold plain values; their content is kept, their code never loaded.
_RECORDS = {
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.base": ("ContainerMetadata", "Metadata"),
    "omegaconf.nodes": (
        *("AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode"),
        *("PathNode", "BytesNode", "EnumNode", "InterpolationResultNode"),
    ),
    "pytorch_lightning.utilities.parsing": ("AttributeDict",),
    "lightning.pytorch.utilities.parsing": ("AttributeDict",),
    "lightning.fabric.utilities.data": ("AttributeDict",),
    "lightning_fabric.utilities.data": ("AttributeDict",),
    "pathlib": ("Path", "PosixPath", "PurePosixPath"),
    "typing": ("Any",),
}
_PLAIN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    **{("builtins", kind.__name__): kind for kind in (dict, list, set, tuple, str, int, float, bool)},
    **{("__builtin__", kind.__name__): kind for kind in (dict, list, set, tuple, str, int, float, bool)},
    ("__builtin__", "long"): int,
    ("__builtin__", "unicode"): str,
}
_DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "BFloat16Storage": "bfloat16",
}


class _Fixed(type):
    """Classes that a pickle cannot change."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"it sets {name} of a class")


class Record(metaclass=_Fixed):
    """A value of a class that is known and not loaded: what it was built from, and its state."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Entries of a dict's subclass become its state."""
        self.state = {**(self.state or {}), key: value}

    def __hash__(self) -> int:
        return id(self)


class _Storage(metaclass=_Fixed):
    """Marks the element type of a tensor's file."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies in the checkpoint."""

    key: str  # name of its file
    dtype: str
    elements: int  # in the file
    offset: int  # elements
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> StoredTensor:
    key, dtype, elements = storage
    return StoredTensor(key, dtype, elements, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


def _parameter(tensor: Any, *rest: Any) -> Any:
    return tensor


class _Call:
    """A function that a pickle can call and not change."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"it sets {name} of a function")


_CALLS = {
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(_parameter),
    ("torch", "Size"): _Call(tuple),
}


class _Unpickler(pickle.Unpickler):
    """Knows the names above and no other."""

    def find_class(self, module: str, name: str) -> Any:
        """The inert stand-in of a name."""
        if name in _RECORDS.get(module, ()):
            return Record
        if module == "torch" and name in _DTYPES:
            return _Storage(_DTYPES[name])
        known = _CALLS.get((module, name)) or _PLAIN.get((module, name))
        if known is None:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, which no checkpoint of a network needs")
        return known

    def persistent_load(self, identity: Any) -> tuple[str, str, int]:
        """A tensor's file: its name, element type and number of elements."""
        if not (isinstance(identity, tuple) and len(identity) == 5 and identity[0] == "storage"):
            raise pickle.UnpicklingError("it refers to something that is no tensor")
        _, storage, key, _, elements = identity
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("it has a tensor of unknown type")
        return str(key), storage.dtype, int(elements)


class Checkpoint:
    """A checkpoint file of torch 1.6 or later.

    Attributes:
        path: the file.
        content: what it holds; tensors as `StoredTensor`, known classes as `Record`.

    Raises:
        InputError: The file is missing, no such checkpoint, damaged, or names a class or function that is not known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise InputError(f"checkpoint {path} does not exist") from None
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is no checkpoint of torch 1.6 or later ({error}); fetch it again") from error
        pickles = [name for name in self._zip.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1 or any(info.compress_type != zipfile.ZIP_STORED for info in self._zip.infolist()):
            raise InputError(f"{path} is a zip file but no checkpoint that torch wrote")
        self._folder = pickles[0].removesuffix("data.pkl")
        order = f"{self._folder}byteorder"
        if order in self._zip.namelist() and self._read(order) != b"little":
            raise InputError(f"{path} was written on a big-endian machine; save it again on a little-endian one")
        self.content = self._load(pickles[0])

    def _read(self, name: str) -> bytes:
        try:
            return self._zip.read(name)
        except (KeyError, OSError, zipfile.BadZipFile) as error:
            raise InputError(f"checkpoint {self.path} is damaged ({error}); fetch it again") from error

    def _load(self, name: str) -> Any:
        try:
            return _Unpickler(io.BytesIO(self._read(name))).load()
        except pickle.UnpicklingError as error:
            raise InputError(f"checkpoint {self.path} is refused: {error}; nothing of it was run") from error
        except (AttributeError, EOFError, IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise InputError(f"checkpoint {self.path} is damaged or made to harm ({error}); it is refused") from error

    def tensor(self, stored: StoredTensor) -> Any:
        """A tensor of the checkpoint, copied into memory of its own; InputError if it does not lie in its file."""
        import torch

        data = self._read(f"{self._folder}data/{stored.key}")
        dtype = getattr(torch, stored.dtype)
        reach = sum((size - 1) * step for size, step in zip(stored.shape, stored.stride, strict=True))
        empty = 0 in stored.shape
        sound = len(data) == stored.elements * dtype.itemsize and len(stored.shape) == len(stored.stride)
        sound &= min(stored.offset, 0, *stored.shape, *stored.stride) >= 0
        if not sound or (not empty and stored.offset + reach >= stored.elements):
            raise InputError(f"checkpoint {self.path} has a tensor beyond the end of its file; fetch it again")
        if empty:
            return torch.zeros(stored.shape, dtype=dtype)
        flat = torch.frombuffer(bytearray(data), dtype=dtype)
        return flat.as_strided(stored.shape, stored.stride, stored.offset).clone(memory_format=torch.contiguous_format)


def plain(value: Any) -> Any:
    """Records of omegaconf as the dicts, lists and values that they hold."""
    if isinstance(value, Record):
        state = value.state
        if isinstance(state, dict):
            for name in ("_content", "_val"):
                if name in state:
                    return plain(state[name])
            return {key: plain(item) for key, item in state.items()}
        return "/".join(map(str, value.arguments)) if value.arguments else None
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
