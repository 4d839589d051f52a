# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Why one lock differs from another: the stages where a difference begins, and what each rests on."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.tracking.chain import LOCK, Link, parse_lock, read_lock
from stages.tracking.explanation import flat
from stages.tracking.revision import has_commits, resolve, text_at

_NAMED = 6  # differences of one kind that are named


def lock_changes(file: Path, revision: str) -> str:
    """Why the lock differs from that of a revision; empty where it does not, or the revision has none.

    So it is in a repository without a commit, whose HEAD is nothing yet.
    """
    if revision == "HEAD" and not has_commits(Path()):
        return ""
    commit = resolve(revision, Path())
    committed = text_at(commit, LOCK.as_posix(), Path())
    if committed is None:
        return ""
    before, after = parse_lock(committed, f"{revision}:{LOCK}"), read_lock()
    devices = [_device(text_at(commit, file.as_posix(), Path())), _device(file.read_text() if file.exists() else None)]
    known = (devices[0], devices[1]) if devices[0] and devices[1] else None
    lines = changes(before, after, known)
    return f"{LOCK} differs from {revision}:\n" + "".join(f"- {line}\n" for line in lines) if lines else ""


def _device(metrics: str | None) -> str:
    """Kind of device that a metric file's model was trained on, empty where it does not say."""
    try:
        trained = str(json.loads(metrics or "{}")["provenance"]["trained_on"])
    except (ValueError, KeyError, TypeError):
        return ""
    return trained.partition(", ")[2]


def changes(before: Mapping[str, Link], after: Mapping[str, Link], devices: tuple[str, str] | None) -> list[str]:
    """A sentence for each stage that has a reason of its own to differ; what follows from others is left out.

    Args:
        before: stages of the earlier lock by name.
        after: stages of the present one.
        devices: kind of device of the earlier and of the present training, where metric files tell.
    """
    lines = [f"{name}: gone" for name in sorted(set(before) - set(after))]
    for name, link in sorted(after.items()):
        reasons = _of(before[name], link, devices) if name in before else ["new"]
        lines += [f"{name}: {reason}" for reason in reasons]
    return lines


def _of(old: Link, new: Link, devices: tuple[str, str] | None) -> Iterator[str]:
    own = False  # whether it has a reason of its own
    inputs: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
        "code": (old.code, new.code),
        "parameter": (dict(flat(old.parameters)), dict(flat(new.parameters))),
    }
    for kind, (was, now) in inputs.items():
        names = sorted(key for key in {*was, *now} if was.get(key) != now.get(key))
        if names:
            own = True
            yield f"{kind} changed: {listed(names, was, now)}"
    if old.command != new.command:
        own = True
        yield "its command changed"
    if own or old.data != new.data or old.outputs == new.outputs:
        return
    yield f"the same inputs gave other bytes, {_machine(devices)}"


def _machine(devices: tuple[str, str] | None) -> str:
    if devices and devices[0] != devices[1]:
        return (
            f"on another kind of device ({devices[0]} before, {devices[1]} now): sums of floating-point numbers differ"
            " there in their last bits, training and predictions with them, and no parameter or code changed"
        )
    if devices:
        return f"on the same kind of device ({devices[1]}): versions of packages may differ (`pip freeze`)"
    return "so the machine or the versions of packages differ"


def listed(names: list[str], was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Names of what differs, the first ones with short values both, as `train.epochs 12 → 8`."""
    texts = []
    for name in names[:_NAMED]:
        old, new = was.get(name), now.get(name)
        short = all(isinstance(value, int | float | bool) for value in (old, new))
        texts.append(f"{name} {old} → {new}" if short else name)
    return ", ".join(texts) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
