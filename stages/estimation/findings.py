# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What the checks find, and how it is told: notes and warnings go on, an error stops unless it is overruled."""

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import InputError

Level = Literal["note", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One fault or remark.

    Attributes:
        level: `note`: nothing to do; `warning`: the flow is worse than it could be; `error`: it would mean nothing.
        name: short name, the same for the same fault in other sweeps.
        text: a sentence that says what was found and what to do.
    """

    level: Level
    name: str
    text: str


class Teller:
    """Tells findings on standard error, each kind once and then by number, and keeps all of them for the record.

    Args:
        force: go on after errors.

    Attributes:
        found: names of the sweeps that had each finding, a pair by its first; none if it is about all of them.
    """

    def __init__(self, force: bool) -> None:
        self._force = force
        self._count: Counter[str] = Counter()
        self.found: dict[Finding, list[str]] = {}

    def tell(self, findings: Iterable[Finding], sweep: Path | None = None) -> None:
        """Write what is new of a sweep, or of all; InputError at the first error, unless errors are overruled."""
        found = list(findings)
        for finding in found:
            self._count[finding.name] += 1
            self.found.setdefault(finding, []).extend([] if sweep is None else [sweep.name])
            stops = finding.level == "error" and not self._force
            if self._count[finding.name] == 1 and not stops:
                sys.stderr.write(f"{finding.level}: {finding.text}\n")
        errors = [finding for finding in found if finding.level == "error"]
        if errors and not self._force:
            raise InputError(f"{errors[0].text} (--force goes on all the same)")

    def close(self) -> None:
        """Say how often kinds were found that were told once."""
        for name, count in self._count.items():
            if count > 1:
                sys.stderr.write(f"note: {count} sweeps in all had the finding {name!r}\n")
