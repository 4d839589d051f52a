# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of one scene of OpenSceneFlow, whose converted files live no longer than it takes."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from stages.evaluation.scene_import import import_scene
from stages.evaluation.scores import ScoreParameters, baseline_log, model_log
from stages.labels.inputs import required

_SPLIT = "scenes"


def scene_log(
    log_id: str,
    inputs: Mapping[str, Path | None],
    outputs: Mapping[str, Path],
    parameters: ScoreParameters,
    arguments: Mapping[str, int | str],
) -> None:
    """Scores of the result and of the baselines on one `scene`, to `model` and `baselines`."""
    # In the store, not in /tmp, which is often small and in memory; whoever removes a workspace removes it too.
    with tempfile.TemporaryDirectory(dir=outputs["model"].parent) as scratch:
        files = import_scene(required(inputs, "scene", log_id), Path(scratch), _SPLIT, str(arguments["result"]))
        of_log: dict[str, Path | None] = {**files, "masks": inputs.get("masks")}
        phase = {"phase": int(arguments["phase"])}
        baseline_log(log_id, of_log, {"scores": outputs["baselines"]}, parameters, phase)
        model_log(log_id, of_log, {"scores": outputs["model"]}, parameters, phase)
