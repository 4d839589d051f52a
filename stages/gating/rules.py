# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The rules of the gate, from one small file in git."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stages.pipeline.parameters import from_mapping, read_file

RULES = Path("metrics/gate.yaml")


@dataclass(frozen=True)
class Rule:
    """What may happen to one number.

    Attributes:
        file: metric file, relative to the project.
        metric: dotted name of the number in it.
        better: whether lower or higher is better.
        absolute: change for the worse that is allowed, in the number's own unit.
        relative: the same as a share of the base's number; the larger of the two allowances counts.
    """

    file: str
    metric: str
    better: Literal["lower", "higher"]
    absolute: float
    relative: float

    def __post_init__(self) -> None:
        for name in ("absolute", "relative"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def allowed(self, base: float) -> float:
        """Largest change for the worse from `base` that passes."""
        return max(self.absolute, self.relative * abs(base))


@dataclass(frozen=True)
class Declaration:
    """A protocol that was changed on purpose.

    Attributes:
        file: metric file, relative to the project.
        protocol: digest of its new protocol, as the gate prints it.
        why: the reason, in a sentence.
    """

    file: str
    protocol: str
    why: str


@dataclass(frozen=True)
class Rules:
    """All rules.

    Attributes:
        measured: where the slack comes from.
        rules: one for each number that is watched.
        declared: protocol changes that are meant.
    """

    measured: str
    rules: tuple[Rule, ...]
    declared: tuple[Declaration, ...]

    def files(self) -> list[str]:
        """The metric files that have rules, in their order."""
        return list(dict.fromkeys(rule.file for rule in self.rules))

    def reason(self, file: str, protocol: str) -> str | None:
        """Why a protocol was changed, None where nobody says so."""
        found = [entry.why for entry in self.declared if (entry.file, entry.protocol) == (file, protocol)]
        return found[0] if found else None


def read_rules(path: Path = RULES) -> Rules:
    """Read the rules; InputError names what is unknown, missing or senseless."""
    content: Mapping[str, object] = read_file(path)
    return from_mapping(path.name, Rules, content)
