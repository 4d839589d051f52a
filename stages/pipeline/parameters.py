# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""params.yaml read once into frozen dataclasses: unknown, missing and mistyped values are refused by name."""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from models.errors import InputError

T = TypeVar("T")

PARAMS_FILE = Path("params.yaml")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """YAML 1.2 floats, as DVC reads them: PyYAML takes `1e-3` for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)


def read_file(file: Path = PARAMS_FILE) -> dict[str, Any]:
    """The parsed parameter file; InputError if it is absent, unreadable or not a YAML mapping."""
    try:
        content = yaml.load(file.read_text(), Loader=_Loader)
    except FileNotFoundError:
        raise InputError(f"{file} does not exist; run from the folder that holds it") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} must hold one mapping of sections, not {type(content).__name__}")
    return content


def read_parameters(section: str, cls: type[T], file: Path = PARAMS_FILE) -> T:
    """One section of the parameter file as an instance of a frozen dataclass.

    Args:
        section: name of the section, which is the name of the stage.
        cls: dataclass whose fields are the section's keys; nested dataclasses are nested mappings.
        file: the parameter file.

    Raises:
        InputError: naming `section.key` for an unknown, missing, mistyped or senseless value.
    """
    content = read_file(file)
    if section not in content:
        raise InputError(f"{file} has no section {section!r}")
    return from_mapping(section, cls, content[section])


def from_mapping(name: str, cls: type[T], mapping: object) -> T:
    """Build a dataclass from a mapping; `name` is the path to it that messages begin with."""
    if not isinstance(mapping, Mapping):
        raise InputError(f"parameter {name} must be a mapping of keys, not {mapping!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in mapping if key not in fields)
    if unknown:
        raise InputError(f"parameter {name}.{unknown[0]} is unknown; {name} has {', '.join(fields)}")
    missing = [key for key in fields if key not in mapping]
    if missing:
        raise InputError(f"parameter {name}.{missing[0]} is missing")
    hints = typing.get_type_hints(cls)
    values = {key: _convert(f"{name}.{key}", hints[key], mapping[key]) for key in fields}
    try:
        return cls(**values)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"parameter {name}.{error}") from error


def _convert(name: str, hint: Any, value: object) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_mapping(name, hint, value)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool) != isinstance(arguments[0], bool):
            raise InputError(f"parameter {name} must be one of {', '.join(map(str, arguments))}, not {value!r}")
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(name, arguments, value)
    if origin is tuple:
        return _convert_tuple(name, arguments, value)
    return _convert_scalar(name, hint, value)


def _convert_union(name: str, options: tuple[Any, ...], value: object) -> Any:
    if value is None and type(None) in options:
        return None
    wanted = [option for option in options if option is not type(None)]
    return _convert(name, wanted[0], value)


def _convert_tuple(name: str, items: tuple[Any, ...], value: object) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise InputError(f"parameter {name} must be a list, not {value!r}")
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise InputError(f"parameter {name} must be a list of {len(items)} values, not {value!r}")
    return tuple(_convert(f"{name}[{i}]", item, v) for i, (item, v) in enumerate(zip(items, value, strict=True)))


def _convert_scalar(name: str, hint: type, value: object) -> Any:
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise InputError(f"parameter {name} must be finite, not {value!r}")
        return float(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise InputError(f"parameter {name} must be of type {hint.__name__}, not {value!r}")
