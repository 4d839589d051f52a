# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Judging a metric file against an older one."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from stages.gating.rules import Rule, Rules
from stages.pipeline.digest import value_digest

Verdict = Literal["better", "same", "within slack", "new", "base reset", "stale", "worse", "failed"]
FAILING = ("worse", "failed")


@dataclass(frozen=True)
class Line:
    """The verdict on one number, or on a whole file (`metric` is empty then)."""

    file: str
    metric: str
    base: float | None
    now: float | None
    allowed: float | None
    verdict: Verdict
    remark: str = ""


def judge(rules: Rules, file: str, base: str | None, now: str | None) -> list[Line]:
    """Judge one metric file by its rules.

    Args:
        rules: all rules.
        file: its path in the project.
        base: its text in the base revision, None where it did not exist.
        now: its text in the working tree, None where it is missing.
    """
    if now is None:
        return [_failed(file, "is missing; run `dvc repro` and commit it")]
    content, fault = _parse(now)
    if content is None:
        return [_failed(file, f"cannot be parsed ({fault}); run `dvc repro` and commit it")]
    old, fault = _parse(base) if base is not None else (None, "")
    if base is not None and old is None:
        return [_failed(file, f"of the base cannot be parsed ({fault}); choose another base")]
    lines, reset = _protocol(rules, file, old, content)
    watched = [rule for rule in rules.rules if rule.file == file]
    return lines + [_number(rule, None if reset else old, content, reset) for rule in watched]


def _protocol(
    rules: Rules, file: str, old: Mapping[str, Any] | None, now: Mapping[str, Any]
) -> tuple[list[Line], bool]:
    """Whether the two files measure the same; a declared change makes today's numbers the new base."""
    if old is None or old.get("protocol") == now.get("protocol"):
        return [], False
    digest = value_digest(now.get("protocol"))[:16]
    why = rules.reason(file, digest)
    if why is not None:
        return [Line(file, "", None, None, None, "base reset", f"protocol {digest}: {why}")], True
    changed = ", ".join(_changed(old.get("protocol"), now.get("protocol"), "protocol"))
    return [
        _failed(file, f"changed its {changed}; if that is meant, declare protocol {digest} in metrics/gate.yaml")
    ], True


def _number(rule: Rule, old: Mapping[str, Any] | None, content: Mapping[str, Any], reset: bool) -> Line:
    value, before = _at(content, rule.metric), None if old is None else _at(old, rule.metric)
    now, base = _finite(value), _finite(before)
    line = Line(rule.file, rule.metric, base, now, None, "failed")
    if now is None:
        return replace(line, remark="is missing" if value is None else f"is {value!r} and no finite number")
    if before is None:
        return replace(line, verdict="base reset" if reset else "new")
    if base is None:
        return replace(line, remark=f"is {before!r} in the base; choose another base")
    worse = now - base if rule.better == "lower" else base - now
    allowed = rule.allowed(base)
    return replace(line, allowed=allowed, verdict=_verdict(worse, allowed))


def _verdict(worse: float, allowed: float) -> Verdict:
    if worse > allowed and not math.isclose(worse, allowed):  # 0.52 - 0.5 is a little more than 0.02
        return "worse"
    if worse > 0:
        return "within slack"
    return "better" if worse < 0 else "same"


def _parse(text: str) -> tuple[Mapping[str, Any] | None, str]:
    """Content of a metric file, or None and what is wrong; NaN is kept, to be told with its name."""
    try:
        content = json.loads(text)
    except ValueError as error:
        return None, str(error)
    return (content, "") if isinstance(content, dict) else (None, "not a mapping")


def _at(content: Mapping[str, Any], name: str) -> Any:
    value: Any = content
    for key in name.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _finite(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None


def _failed(file: str, remark: str) -> Line:
    return Line(file, "", None, None, None, "failed", remark)


def _changed(old: Any, now: Any, name: str) -> Sequence[str]:
    if isinstance(old, Mapping) and isinstance(now, Mapping):
        keys = sorted({*old, *now})
        return [text for key in keys for text in _changed(old.get(key), now.get(key), f"{name}.{key}")]
    return [] if old == now else [f"{name} from {old!r} to {now!r}"]
