# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The viewer by its command: pictures and films without a display, recordings read back by rerun's own tools."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.data.logfile import LogColumns, LogFrames
from models.geometry import rigid_flow
from stages.frames.write import write_columns
from stages.pipeline.code import ROOT
from stages.rendering.colours import error_colours
from stages.viewing.command import parse
from tests.evaluation.data import log_arrays, write_split
from tests.rendering.splits import add_boxes, add_clusters


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A val split of two logs, of 5 and 3 sweeps, and a second experiment that predicts no motion at all."""
    root = tmp_path_factory.mktemp("view")
    for log in write_split(root, [log_arrays(0, 5, 700), log_arrays(1, 3, 600)]):
        frames = LogFrames.open(root / f"data/frames/val/{log}.h5")
        columns = {
            "residual": np.zeros((frames.num_points, 3), np.float32),
            "covered": np.ones(frames.num_points, bool),
            "has_flow": frames.pair_next,
        }
        attributes = {"log_id": log, "frames_digest": frames.digest}
        write_columns(root / f"other/{log}.h5", "predictions/1", columns, attributes)
    add_boxes(root / "data", "log-00")
    return root


BOTH = ("--predictions", "mine=data/predictions/val", "--predictions", "none=other")


def view(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in an environment without any display."""
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    environment.update(PYTHONPATH=str(ROOT), HOME=str(root))
    command = [sys.executable, "-m", "stages.view", "--pixels", "96", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_a_picture_of_one_pair(root: Path) -> None:
    run = view(root, "--log", "log-00", "--frame", "2", "--png", "a.png")
    assert run.returncode == 0, run.stderr
    assert run.stdout == "a.png: log log-00, 1 pairs\n"
    with Image.open(root / "a.png") as picture:
        assert picture.size == (3 * 96 + 2 * 6, 96)  # truth, prediction, error


def test_an_animation_without_a_display(root: Path) -> None:
    run = view(root, "--log", "log-00", "--gif", "a.gif", "--rate", "4")
    assert run.returncode == 0, run.stderr
    with Image.open(root / "a.gif") as film:
        assert film.n_frames == 4
        assert film.size == (3 * 96 + 2 * 6, 96)
        assert film.info["duration"] == 250  # ms
        assert film.info["loop"] == 0


def test_two_experiments_side_by_side(root: Path) -> None:
    run = view(root, "--frames", "1:3", *BOTH, "--gif", "b.gif", "--png", "b.png")
    assert run.returncode == 0, run.stderr
    with Image.open(root / "b.gif") as film:
        assert (film.n_frames, film.size) == (2, (3 * 96 + 2 * 6, 2 * 96 + 6))  # errors below the predictions
    with Image.open(root / "b.png") as picture:
        mine = np.asarray(picture.crop((102, 102, 198, 198))).astype(int)
        none = np.asarray(picture.crop((204, 102, 300, 198))).astype(int)
    assert none.sum() > mine.sum()  # greater errors are brighter


def test_a_film(root: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg (extra view) is not installed")
    run = view(root, "--log", "log-00", "--mp4", "a.mp4", "--pixels", "97")
    assert run.returncode == 0, run.stderr
    film = ffmpeg.read_frames(str(root / "a.mp4"))
    size = next(film)["size"]
    assert size == (3 * 97 + 2 * 6 - 1, 96)  # even sides
    assert [len(frame) for frame in film] == [size[0] * size[1] * 3] * 4


def test_labels_of_a_training_log(root: Path) -> None:
    write_split(root, [log_arrays(4, 2, 500)], "train")
    add_clusters(root / "data", "log-00")
    run = view(root, "--split", "train", "--png", "c.png", "--predictions", "m=data/predictions/train")
    assert run.returncode == 0, run.stderr
    with Image.open(root / "c.png") as picture:
        assert picture.size == (4 * 96 + 3 * 6, 96)  # truth, prediction, error, labels


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--log", "nine"), "error: 0 logs of data/frames/val begin with nine; it has log-00, log-01"),
        (("--log", "log"), "error: 2 logs of data/frames/val begin with log"),
        (("--split", "test"), "error: data/frames/test has no logs; run `dvc repro`"),
        (
            ("--frame", "9"),
            "error: log log-00 has no pair among the frames asked for; its 4 pairs begin with frames 0 to 3",
        ),
        (("--predictions", "a=nowhere"), "error: prediction a has no log log-00: nowhere/log-00.h5 does not exist"),
        (("--predictions", "a"), "'a' is not NAME=DIR"),
        (("--frames", "3"), "'3' is not A:B"),
        (("--pixels", "3"), "--pixels must lie between 64 and 2000, not 3"),
        (("--reach", "-1"), "-1 is not a positive number"),
    ],
)
def test_faults_are_one_sentence(root: Path, arguments: tuple[str, ...], sentence: str) -> None:
    run = view(root, *arguments, "--png", "x.png")
    assert run.returncode != 0
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr
    assert not (root / "x.png").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--png", "a.jpg"), "error: --png writes PNG and no other format, so a.jpg must end in .png\n"),
        (("--gif", "film"), "error: --gif writes GIF and no other format, so film must end in .gif\n"),
        (("--png", "new/a.png"), "error: the folder of --png new/a.png does not exist; make new, or name another\n"),
        (("--png", "taken.png"), "error: --png taken.png is a folder; name a file\n"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_any_is_written(
    root: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (root / "taken.png").mkdir(exist_ok=True)
    before = sorted(root.iterdir())
    run = view(root, "--rrd", "good.rrd", *arguments)
    assert (run.returncode, run.stderr) == (1, sentence)
    assert sorted(root.iterdir()) == before


def test_a_log_whose_id_begins_another_can_be_opened(root: Path) -> None:
    longer = root / "longer"
    for kind in ("frames", "ground", "predictions"):
        (longer / kind / "val").mkdir(parents=True)
        for log in ("log-01", "log-01-again"):
            shutil.copyfile(root / f"data/{kind}/val/log-01.h5", longer / kind / "val" / f"{log}.h5")
    run = view(root, "--data", "longer", "--log", "log-01", "--png", "exact.png")
    assert (run.returncode, run.stdout) == (0, "exact.png: log log-01, 2 pairs\n"), run.stderr
    run = view(root, "--data", "longer", "--log", "log-0", "--png", "exact.png")
    assert run.returncode == 1
    assert "2 logs of longer/frames/val begin with log-0" in run.stderr


def test_without_rerun_it_says_what_to_install(root: Path) -> None:
    (root / "absent").mkdir()
    (root / "absent/sitecustomize.py").write_text("import sys\nsys.modules['rerun'] = None\n")
    environment = {**os.environ, "PYTHONPATH": f"{root / 'absent'}{os.pathsep}{ROOT}"}
    run = subprocess.run(
        [sys.executable, "-m", "stages.view"], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr == "error: --rrd needs rerun: pip install -e '.[view]'; --png and --gif need nothing more\n"
    assert not (root / "view.rrd").exists()


def test_a_recording_is_read_back_by_rerun(root: Path) -> None:
    rerun = pytest.importorskip("rerun", reason="rerun-sdk (extra view) is not installed")
    run = view(root, "--log", "log-00", *BOTH)
    assert run.returncode == 0, run.stderr
    verify = [str(Path(sys.executable).with_name("rerun")), "rrd", "verify", "view.rrd"]
    environment = {**os.environ, "HOME": str(root)}  # its analytics write there
    checked = subprocess.run(verify, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    rows = entity_rows(rerun, root / "view.rrd")
    wanted = {"truth", "predictions/mine", "predictions/none", "errors/mine", "errors/none", "ground", "boxes"}
    assert wanted == {name.removeprefix("/world/ego/") for name in rows if name.startswith("/world/ego/")}
    for name in wanted:
        assert sorted(rows[f"/world/ego/{name}"]) == [0, 1, 2, 3]  # on the timeline `sweep`
    assert sorted(rows["/world/ego"]) == [0, 1, 2, 3]
    frames = LogFrames.open(root / "data/frames/val/log-00.h5")
    ground = LogColumns.open(root / "data/ground/val/log-00.h5", "ground/1", frames).column("ground")[frames.span(1)]
    points, colours = rows["/world/ego/errors/none"][1]
    np.testing.assert_array_equal(points, frames.xyz(1)[~ground].astype(np.float32))
    assert len(rows["/world/ego/ground"][1][0]) == ground.sum()
    truth = LogColumns.open(root / "data/truth/val/log-00.h5", "truth/1", frames)
    motion = truth.column("flow")[frames.span(1)] - rigid_flow(frames.xyz(1), frames.ego1_SE3_ego0(1))
    error = np.where(truth.column("valid")[frames.span(1)], np.linalg.norm(motion, axis=1), 0.0)[~ground]
    assert (error > 0.5).any()
    assert np.abs(colours - error_colours(error, 0.5) * 255).max() < 1


def test_what_a_pair_lacks_is_cleared(root: Path) -> None:
    """A prediction without flow from sweep 1 to 2: there its points go, and with them their error, and come back."""
    rerun = pytest.importorskip("rerun", reason="rerun-sdk (extra view) is not installed")
    frames = LogFrames.open(root / "data/frames/val/log-00.h5")
    has_flow = frames.pair_next.copy()
    has_flow[1] = False
    flow = np.zeros((frames.num_points, 3), np.float32)
    columns = {"residual": flow, "covered": np.ones(frames.num_points, bool), "has_flow": has_flow}
    attributes = {"log_id": "log-00", "frames_digest": frames.digest}
    write_columns(root / "gap/log-00.h5", "predictions/1", columns, attributes)
    run = view(root, "--log", "log-00", "--predictions", "gap=gap", "--rrd", "gap.rrd")
    assert run.returncode == 0, run.stderr
    rows = entity_rows(rerun, root / "gap.rrd")
    for name in ("predictions/gap", "errors/gap"):
        assert [len(rows[f"/world/ego/{name}"][sweep][0]) > 0 for sweep in range(4)] == [True, False, True, True]
    cleared = clears(root / "gap.rrd")
    assert cleared == {("/world/ego/predictions/gap", 1, False), ("/world/ego/errors/gap", 1, False)}


def clears(file: Path) -> set[tuple[str, int, bool]]:
    """Entity, sweep and whether it is recursive, of each Clear."""
    from rerun.chunk import RrdReader

    found = set()
    for chunk in RrdReader(str(file)).stream().to_chunks():
        table = chunk.to_record_batch().to_pydict()
        for name in [name for name in table if name.endswith("Clear:is_recursive")]:
            rows = zip(table["sweep"], table[name], strict=True)
            found |= {(chunk.entity_path, sweep, flag[0]) for sweep, flag in rows if flag}
    return found


def entity_rows(rerun: object, file: Path) -> dict[str, dict[int, tuple[np.ndarray, np.ndarray]]]:
    """Of each entity, points and colours at each number of the timeline `sweep`."""
    from rerun.chunk import RrdReader

    found: dict[str, dict[int, tuple[np.ndarray, np.ndarray]]] = {}
    for chunk in RrdReader(str(file)).stream().to_chunks():
        batch = chunk.to_record_batch()
        if "sweep" not in batch.schema.names:
            continue
        table = batch.to_pydict()
        places = next((table[name] for name in table if name.endswith("Points3D:positions")), None)
        packed = next((table[name] for name in table if name.endswith("Points3D:colors")), None)
        for row, sweep in enumerate(table["sweep"]):
            points = np.array([] if places is None else places[row], dtype=np.float32)
            values = np.array([] if packed is None else packed[row], dtype=np.int64)
            colours = np.stack([values >> 24 & 255, values >> 16 & 255, values >> 8 & 255], axis=-1)
            found.setdefault(chunk.entity_path, {})[int(sweep)] = (points, colours)
    return found


def test_every_command_of_the_docs_is_one() -> None:
    """Lines of README and docs that call the viewer, read by its own parser."""
    texts = [(ROOT / "README.md").read_text(), *(file.read_text() for file in sorted((ROOT / "docs").glob("*.md")))]
    commands = re.findall(r"^python -m stages\.view (.*)$", "\n".join(texts), re.MULTILINE)
    assert len(commands) >= 5
    for command in commands:
        words = shlex.split(command.partition("#")[0].partition("&&")[0])
        if "--help" not in words:
            assert parse(words).outputs
