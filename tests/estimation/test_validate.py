# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Every finding is provoked by the fault that it is there for, through the whole command; a sound pair has none."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.estimation import validate_cloud, validate_frame, validate_pair, validate_sequence
from stages.estimation.frame import Frame
from stages.estimation.level import road_plane
from tests.estimation.faults import AHEAD, FAULTS, POSES, START_NS, Fault, files, shifted, with_rows
from tests.estimation.scene import forward, motion, sweep, write


@pytest.fixture(scope="module")
def street() -> list[np.ndarray]:
    return [sweep(pose, seed=i, car_x=0.8 * i) for i, pose in enumerate(POSES)]


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_found_and_told(case: str, street: list[np.ndarray], estimate: Callable, tmp_path: Path) -> None:
    fault = FAULTS[case]
    result = estimate(*files(street, fault, tmp_path), "-o", tmp_path / "out")
    level, *parts = fault.said
    lines = [line for line in result.err.splitlines() if line.startswith(f"{level}: ") and parts[0] in line]
    assert len(lines) == 1, result.err
    assert all(part in lines[0] for part in parts), lines[0]
    assert result.code == (1 if level == "error" else 0)
    assert (tmp_path / "out").exists() == (level != "error")


@pytest.mark.parametrize("case", ["2 Hz by names", "upside down", "identical", "range nothing", "registration"])
def test_an_error_can_be_overruled(case: str, street: list[np.ndarray], estimate: Callable, tmp_path: Path) -> None:
    result = estimate(*files(street, FAULTS[case], tmp_path), "-o", tmp_path / "out", "--force")
    assert result.code == 0
    assert any(line.startswith("error: ") for line in result.err.splitlines())
    assert len(list((tmp_path / "out").glob("*.npy"))) == 1


def test_a_sound_pair_has_no_finding(street: list[np.ndarray], estimate: Callable, tmp_path: Path) -> None:
    result = estimate(*files(street, Fault((), seconds=[0, 0.1]), tmp_path), "-o", tmp_path / "out")
    assert (result.code, result.err) == (0, "")


@pytest.mark.filterwarnings("error")
def test_garbage_far_away_does_no_harm(street: list[np.ndarray], estimate: Callable, tmp_path: Path) -> None:
    fault = Fault((), with_rows(0.001, 3e38), seconds=[0, 0.1])
    result = estimate(*files(street, fault, tmp_path), "-o", tmp_path / "out")
    assert (result.code, result.err) == (0, "")
    (out,) = (tmp_path / "out").glob("*.npy")
    rows = np.load(out)
    assert len(rows) == 24_000 and not rows[:24, -2].any() and rows[24:, -2].any()  # covered


def test_a_lidars_own_frame_with_its_height_has_no_finding(
    street: list[np.ndarray], estimate: Callable, tmp_path: Path
) -> None:
    fault = Fault((), shifted(z=-1.4), seconds=[0, 0.1], options=("--mount-height", "1.73"))
    result = estimate(*files(street, fault, tmp_path), "-o", tmp_path / "out")
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(("reach", "height", "lowest"), AHEAD)
def test_a_lidar_that_looks_far_ahead_has_no_finding(reach: float, height: float, lowest: float) -> None:
    """In its own frame and in the rear axle's; road nearer than 15 m is seen by the steepest of these alone."""
    points = forward(reach, height, lowest)
    assert list(validate_frame.check_frame(points, Frame(height))) == []
    assert list(validate_frame.check_frame(points + (0, 0, height - 0.33), Frame())) == []


@pytest.mark.parametrize(("reach", "height", "lowest"), AHEAD[::7])
def test_faults_of_a_lidar_that_looks_far_ahead_are_told(reach: float, height: float, lowest: float) -> None:
    points = forward(reach, height, lowest)
    (unit,) = validate_frame.check_frame(points / 0.3048, Frame(height))
    assert (unit.level, unit.name) == ("error", "units") and "feet" in unit.text
    (mount,) = validate_frame.check_frame(points, Frame())
    assert (mount.level, mount.name) == ("warning", "height")
    assert f"about --mount-height {height:.2f}" in mount.text


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.06])
def test_points_on_a_line_are_no_road(seed: int, noise: float) -> None:
    """A kerb, or the one ring that meets the road: any plane through it fits; as wide as a lane it is one."""
    random = np.random.default_rng(seed)
    line = np.column_stack([np.linspace(-14.5, 14.5, 400), np.full(400, 5.0), np.full(400, -1.8)])
    line += random.normal(0, noise, line.shape) * (0, 1, 1)
    assert road_plane(line) is None
    lane = road_plane(line + random.uniform(-1.5, 1.5, (400, 1)) * (0, 1, 0))
    assert lane is not None and lane.tilt_deg < 1 and abs(lane.height + 1.8) < 0.1


def test_clouds_in_feet_are_told_by_poses_in_metres(estimate: Callable, tmp_path: Path) -> None:
    """Denser ones than the others here: in feet there are eleven times fewer points a square unit."""
    (tmp_path / "in").mkdir()
    for i, pose in enumerate(POSES):
        write(tmp_path / f"in/{i}.npy", (sweep(pose, seed=i, points=150_000) * 3.28084).astype(np.float32))
    np.save(tmp_path / "poses.npy", np.stack(POSES))
    result = estimate(tmp_path / "in", "--poses", tmp_path / "poses.npy", "-o", tmp_path / "out")
    assert result.code == 1
    assert "by the poses' motion times 3.28: are the clouds in feet? multiply their coordinates by 0.3048" in result.err


def test_pairs_across_a_gap_get_no_flow(estimate: Callable, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i, tenths in enumerate((0, 1, 2, 7, 8)):
        write(tmp_path / f"in/{START_NS + tenths * 10**8}.npy", sweep(motion(x=0.1 * tenths), seed=i))
    result = estimate(tmp_path / "in", "-o", tmp_path / "out", "--no-picture")
    assert "warning: 1 pairs lie across a gap of more than 0.15 s in the recording; they get no flow" in result.err
    assert len(list((tmp_path / "out").glob("*.npy"))) == 3


@pytest.mark.parametrize(
    ("tenths", "longest"),
    [
        ([0, 1, 2, 7, 8], "0.15"),
        ([0, 2, 4, 10, 12], "0.3"),  # the rate is told too
        ([0, 1.2, 2.4, 4.1, 5.3], None),  # a step of 0.17 s where 0.12 s is usual is none to drop
        ([0, 1.2, 2.4, 4.4, 5.6], "0.18"),
    ],
)
def test_what_is_dropped_is_told(tenths: list[float], longest: str | None) -> None:
    times = [START_NS + round(t * 1e8) for t in tenths]
    dropped = 4 - len(validate_sequence.usable_pairs(5, times))
    found = {finding.name: finding.text for finding in validate_sequence.check_times(times)}
    assert dropped == (longest is not None)
    assert found.get("gaps") == (
        f"1 pairs lie across a gap of more than {longest} s in the recording; they get no flow" if longest else None
    )
    assert ("rate" in found) == (tenths[1] == 2)


def test_forced_times_that_fall_still_have_speeds(street: list[np.ndarray], estimate: Callable, tmp_path: Path) -> None:
    moving = {}
    for name, seconds in (("rising", [0, 0.1]), ("falling", [0, -0.1])):
        (tmp_path / name).mkdir()
        given = files(street, Fault((), seconds=seconds), tmp_path / name)
        out = tmp_path / name / "out"
        assert estimate(*given, "-o", out, "--force").code == 0
        moving[name] = json.loads((out / f"{START_NS}.json").read_text())["pairs"][0]["moving"]
    assert moving["falling"] == moving["rising"] > 0


def test_the_record_keeps_every_text_and_its_sweeps(estimate: Callable, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i, share in enumerate((0.1, 0.2, 0.1)):
        write(tmp_path / f"in/{i}.npy", with_rows(share, np.nan)(sweep(motion(), seed=i)))
    result = estimate(tmp_path / "in", "--compensated", "-o", tmp_path / "out", "--no-picture")
    assert result.code == 0
    found = json.loads((tmp_path / "out/estimate.json").read_text())["findings"]
    assert [(row["name"], row["text"].partition(" rows")[0], row["sweeps"]) for row in found] == [
        ("no times", found[0]["text"], []),
        ("nan", "0.npy: 2,400 of 24,000", ["0.npy"]),
        ("nan", "1.npy: 4,800 of 24,000", ["1.npy"]),
        ("nan", "2.npy: 2,400 of 24,000", ["2.npy"]),
    ]


def test_a_finding_of_many_sweeps_is_told_once_and_counted(estimate: Callable, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        points = with_rows(0.1, np.nan)(sweep(motion(), seed=i))
        write(tmp_path / f"in/{START_NS + i * 10**8}.npy", points)
    result = estimate(tmp_path / "in", "--compensated", "-o", tmp_path / "out", "--no-picture")
    assert result.err.count("hold NaN or infinity") == 1
    assert "note: 3 sweeps in all had the finding 'nan'" in result.err


def test_the_page_explains_every_finding() -> None:
    """docs/your-clouds.md names each finding that the code can make."""
    import inspect
    import re

    page = (Path(__file__).parents[2] / "docs/your-clouds.md").read_text()
    source = "".join(map(inspect.getsource, (validate_cloud, validate_frame, validate_pair, validate_sequence)))
    names = set(re.findall(r'Finding\((?:"\w+"|[^,]+?), "([a-z ]+)"', source))
    assert len(names) > 15
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []
