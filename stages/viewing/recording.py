# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A log as a recording for rerun: everything that is known of it on one timeline, views beside each other."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.geometry import inverse_SE3
from stages.frames.write import atomic
from stages.labels.boxes import Boxes
from stages.labels.categories import CATEGORIES
from stages.rendering.colours import GROUND, STILL, Colours, error_colours, flow_colours, label_colours
from stages.rendering.scene import Pair
from stages.viewing.shot import Shot

_WORLD, _EGO = "/world", "/world/ego"
_DOT = 1.4  # radius of a point, pixels
_EYE, _TARGET = (-22.0, 0.0, 30.0), (6.0, 0.0, 0.0)  # m: from above and behind the vehicle


def write_rrd(file: Path, shot: Shot) -> None:
    """Write a recording with these entities, all in metres.

    `/world/ego` is the vehicle's motion from the first pair on; below it `ground`, `truth`, `predictions/<name>`,
    `errors/<name>`, `labels` and `boxes`, each where the log has it. What a pair lacks that an earlier one had is
    cleared, for rerun shows the last that was logged. Timelines: `sweep`, the number of the sweep, and `time`, its time
    in the log.
    """
    try:
        import rerun as rr
    except ImportError:
        raise InputError("--rrd needs rerun: pip install -e '.[view]'; --png and --gif need nothing more") from None
    log = shot.scene.frames
    first_SE3_city = inverse_SE3(log.city_SE3_ego[shot.frames[0]])
    stream = rr.RecordingStream("sceneflow", recording_id=f"sceneflow-{log.log_id}")
    with atomic(file) as partial:
        stream.save(partial, default_blueprint=_blueprint(shot))
        stream.log(_WORLD, rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        logged: set[str] = set()
        for frame in shot.frames:
            stream.set_time("sweep", sequence=frame)
            stream.set_time("time", duration=float(log.timestamp_ns[frame] - log.timestamp_ns[0]) * 1e-9)
            first_SE3_ego = first_SE3_city @ log.city_SE3_ego[frame]
            stream.log(_EGO, rr.Transform3D(translation=first_SE3_ego[:3, 3], mat3x3=first_SE3_ego[:3, :3]))
            entities = _entities(shot, shot.scene.pair(frame))
            for name in sorted(logged - entities.keys()):
                stream.log(f"{_EGO}/{name}", rr.Clear(recursive=False))
            for name, entity in entities.items():
                stream.log(f"{_EGO}/{name}", entity)
            logged |= entities.keys()
        stream.flush()
        stream.disconnect()


def _entities(shot: Shot, pair: Pair) -> dict[str, Any]:
    """What is logged of one pair, by its path below the vehicle."""
    above = ~pair.ground
    full = shot.scale.full_speed * pair.seconds
    ground = np.broadcast_to(np.array(GROUND), (int(pair.ground.sum()), 3))
    entities = {"ground": _points(pair.points[pair.ground], ground)}
    if pair.truth is not None:
        entities["truth"] = _points(pair.points[above], flow_colours(pair.truth[above], full, STILL))
    for name, flow in pair.predictions.items():
        entities[f"predictions/{name}"] = _points(pair.points[above], flow_colours(flow[above], full, STILL))
        error = pair.error(name)
        if error is not None:
            entities[f"errors/{name}"] = _points(pair.points[above], error_colours(error[above], shot.scale.full_error))
    if shot.scene.labels is not None:
        labels = shot.scene.labels.column("label")[shot.scene.frames.span(pair.frame)]
        entities["labels"] = _points(pair.points[above], label_colours(labels[above]))
    if shot.scene.boxes is not None:
        entities["boxes"] = _boxes(shot.scene.boxes[pair.frame])
    return entities


def _points(points: NDArray[np.float64], colours: Colours) -> Any:
    import rerun as rr

    return rr.Points3D(
        points.astype(np.float32), colors=np.round(colours * 255).astype(np.uint8), radii=rr.Radius.ui_points(_DOT)
    )


def _boxes(boxes: Boxes) -> Any:
    import rerun as rr
    from scipy.spatial.transform import Rotation

    turns = Rotation.from_matrix(boxes.ego_SE3_box[:, :3, :3]).as_quat() if len(boxes) else np.zeros((0, 4))
    return rr.Boxes3D(
        centers=boxes.ego_SE3_box[:, :3, 3],
        half_sizes=boxes.size / 2,
        quaternions=turns,
        labels=[
            f"{CATEGORIES[c - 1].lower().replace('_', ' ')} {t}"
            for c, t in zip(boxes.category, boxes.track, strict=True)
        ],
        show_labels=False,
        colors=[150, 156, 166],
        radii=rr.Radius.ui_points(0.7),
        fill_mode="majorwireframe",
    )


def _blueprint(shot: Shot) -> Any:
    """Views beside each other: truth, each prediction and its error, labels."""
    import rerun.blueprint as rrb

    scene = shot.scene
    shown = {"truth": "truth"} if scene.truth is not None else {}
    shown.update({name: f"predictions/{name}" for name in scene.predictions})
    if scene.truth is not None:
        shown.update({f"error of {name}": f"errors/{name}" for name in scene.predictions})
    if scene.labels is not None:
        shown["labels"] = "labels"
    views = [
        rrb.Spatial3DView(
            origin=_EGO,
            name=name,
            contents=[f"{_EGO}/{part}" for part in ("ground", "boxes", path)],
            background=[16, 20, 26],
            eye_controls=rrb.EyeControls3D(position=_EYE, look_target=_TARGET, eye_up=(0.0, 0.0, 1.0)),
        )
        for name, path in shown.items()
    ]
    return rrb.Blueprint(
        rrb.Grid(*views), rrb.TimePanel(timeline="sweep", fps=shot.rate, expanded=False), collapse_panels=True
    )
