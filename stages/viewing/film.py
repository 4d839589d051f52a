# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures and films of a log, drawn without any window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.errors import InputError
from stages.frames.write import atomic
from stages.rendering.birdseye import label_picture
from stages.rendering.canvas import grid
from stages.rendering.panels import Panel, encode_animation, flow_panels
from stages.viewing.shot import Shot

if TYPE_CHECKING:
    from PIL import Image


def picture(shot: Shot, frame: int) -> Image.Image:
    """One pair: truth, prediction and error in a row; of several predictions each has its error below it.

    Labels come last where the log has some.
    """
    panels = _panels(shot, frame)
    if len(shot.names) < 2:
        return grid([_cells(panels)])
    errors = {panel.title: panel for panel in panels if panel.title.startswith("error of ")}
    flows = [panel for panel in panels if panel.title not in errors]
    below = [errors.get(f"error of {panel.title}") for panel in flows]
    return grid([_cells(flows), _cells(below)] if errors else [_cells(flows)])


def _panels(shot: Shot, frame: int) -> list[Panel]:
    pair, scene = shot.scene.pair(frame), shot.scene
    panels = flow_panels(pair, shot.names, shot.view, shot.scale)
    if scene.labels is not None:
        labels = scene.labels.column("label")[scene.frames.span(frame)]
        panels.append(Panel("labels", "", label_picture(pair, labels, shot.view)))
    if not panels:
        raise InputError(f"log {scene.frames.log_id} has neither truth, predictions nor labels to show")
    return [replace(panels[0], title=f"{panels[0].title}, frame {frame}"), *panels[1:]]


def _cells(panels: Sequence[Panel | None]) -> list[tuple[Image.Image, str] | None]:
    return [None if panel is None else (panel.picture, panel.title) for panel in panels]


def pictures(shot: Shot) -> Iterator[Image.Image]:
    """Every pair in turn."""
    for frame in shot.frames:
        yield picture(shot, frame)


def write_png(file: Path, shot: Shot) -> None:
    """Write the first pair as PNG."""
    with atomic(file) as partial:
        picture(shot, shot.frames[0]).save(partial, "PNG", optimize=True)


def write_gif(file: Path, shot: Shot) -> None:
    """Write an endless GIF with one palette for all its pictures, so that colours do not flicker."""
    from PIL import Image

    frames = list(pictures(shot))
    palette = frames[len(frames) // 2].quantize(255)
    data = encode_animation(
        [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames], shot.rate, "GIF"
    )
    with atomic(file) as partial:
        partial.write_bytes(data)


def write_mp4(file: Path, shot: Shot) -> None:
    """Write a film (H.264), which needs imageio-ffmpeg; sides are cut to even numbers, which the codec wants."""
    try:
        from imageio_ffmpeg import write_frames
    except ImportError:
        raise InputError("--mp4 needs imageio-ffmpeg: pip install -e '.[view]'; --gif needs nothing more") from None
    width, height = (side // 2 * 2 for side in picture(shot, shot.frames[0]).size)
    with atomic(file) as partial:
        film = partial.with_suffix(".mp4")  # by which the encoder knows the format
        try:
            writer = write_frames(
                str(film), (width, height), fps=shot.rate, codec="libx264", quality=7, macro_block_size=2
            )
            writer.send(None)
            for image in pictures(shot):
                writer.send(np.asarray(image.crop((0, 0, width, height))).tobytes())
            writer.close()
            film.rename(partial)
        finally:
            film.unlink(missing_ok=True)
