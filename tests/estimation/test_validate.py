# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Every finding is provoked by the fault that it is there for, through the whole command; a sound pair has none."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.geometry import inverse_SE3, make_SE3, transform_points
from stages.estimation import validate_cloud, validate_frame, validate_pair, validate_sequence
from tests.estimation.scene import motion, sweep, write

FORWARD = 1.0  # m that the vehicle goes in a pair
POSES = [motion(), motion(x=FORWARD)]
CAMERA_SE3_EGO = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
START_NS = 1_600_000_000_000_000_000
Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def street() -> list[np.ndarray]:
    return [sweep(pose, seed=i, car_x=0.8 * i) for i, pose in enumerate(POSES)]


@dataclass
class Fault:
    """What to do to a sound pair, and what is said then.

    Attributes:
        said: level, and parts of the message.
        change: of both clouds.
        second: of the second cloud alone, after that.
        poses: that the poses file holds, or None for no file.
        seconds: between the sweeps as their names tell, or None for names without times.
        options: more arguments.
    """

    said: tuple[str, ...]
    change: Change = field(default=lambda points: points)
    second: Change = field(default=lambda points: points)
    poses: list[np.ndarray] | None = field(default_factory=lambda: POSES)
    seconds: list[float] | None = None
    options: tuple[str, ...] = ()


def shifted(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Change:
    return lambda points: (points + (x, y, z)).astype(np.float32)


def axes(*rows: tuple[int, int, int]) -> Change:
    return lambda points: (points @ np.array(rows, dtype=np.float32).T).astype(np.float32)


def with_rows(share: float, value: float) -> Change:
    def change(points: np.ndarray) -> np.ndarray:
        points = points.copy()
        points[: round(share * len(points))] = value
        return points

    return change


def scattered(points: np.ndarray) -> np.ndarray:
    return np.random.default_rng(9).uniform((-35, -15, -1), (35, 15, 5), points.shape).astype(np.float32)


def into_first(points: np.ndarray) -> np.ndarray:
    return transform_points(POSES[1], points).astype(np.float32)


def far(poses: list[np.ndarray]) -> list[np.ndarray]:
    """The poses in coordinates of a map, stored as float32."""
    moved = np.stack(poses)
    moved[:, :3, 3] += (4_000_000, 500_000, 100)
    return list(moved.astype(np.float32))


def in_feet(points: np.ndarray) -> np.ndarray:
    """A twentieth of the points far down the street, so that the cloud reaches as far as a lidar's."""
    points = points.copy()
    points[: len(points) // 20, 0] *= 3
    return (points * 3.28084).astype(np.float32)


def pitched(degrees: float) -> np.ndarray:
    """The transform (4, 4) into the frame of a lidar whose front is turned up, so that the road ahead sinks."""
    return make_SE3(Rotation.from_euler("y", degrees, degrees=True).as_matrix(), (0, 0, 0))


# The same motion far from the origin, as poses of a map are.
ON_MAP = [motion(4000, -2500, 30, yaw_deg=70) @ pose for pose in POSES]
TURNED = [motion(), motion(y=FORWARD)]  # of clouds whose y is forward

FAULTS = {
    "millimetres": Fault(
        ("error", "farther than any lidar sees: millimetres (3", "m, times 0.001)? coordinates must be in metres"),
        lambda p: p * 1000,
    ),
    "decimetres": Fault(("error", "in decimetres the road lies where it should, at z = -0.33 m"), lambda p: p * 10),
    "feet": Fault(("error", "in feet the road lies where it should", "multiply the coordinates by 0.3048"), in_feet),
    "feet near by": Fault(
        ("warning", "the road lies at z = -1.09 m", "--mount-height 1.09; if they are feet, multiply by 0.3048"),
        lambda p: (p * 3.28084).astype(np.float32),
        poses=[motion(), motion(x=FORWARD / 0.3048)],
    ),
    "poses in feet": Fault(
        ("error", "by the poses' motion times 0.305: are the poses in feet?"),
        poses=[motion(), motion(x=FORWARD / 0.3048)],
    ),
    "pitched": Fault(
        ("warning", "the road is 6.0° off level (it rises by -6.0° along x", "mounted at a slant? level the points"),
        lambda p: transform_points(pitched(6), p).astype(np.float32),
        poses=[pitched(6) @ p @ inverse_SE3(pitched(6)) for p in POSES],
    ),
    "rolled": Fault(
        ("warning", "the road is 20.0° off level (it rises by -0.0° along x, +20.0° along y)"),
        lambda p: (p @ Rotation.from_euler("x", 20, degrees=True).as_matrix().T).astype(np.float32),
    ),
    "above the road": Fault(
        ("warning", "the road lies at z = 2.67 m", "does z point down, or count from"), shifted(z=3)
    ),
    "kilometres": Fault(("error", "units wide: kilometres, or scaled to 1?"), lambda p: p / 1000),
    "world": Fault(("error", "lies around x 5,0", "in a fixed frame of the world"), shifted(5000, 3000)),
    "axes": Fault(("error", "flat along y, not along z: a camera's axes?"), axes((0, -1, 0), (0, 0, -1), (1, 0, 0))),
    "upside down": Fault(("error", "z points down; turn it"), axes((1, 0, 0), (0, -1, 0), (0, 0, -1))),
    "height": Fault(("warning", "the road lies at z = -1.7", "about --mount-height 1.7"), shifted(z=-1.4)),
    "range nothing": Fault(("error", "no point lies in the network's range (x -38.4 to 38.4 m"), shifted(z=20)),
    "range little": Fault(("warning", "% of the points lie in the network's range"), shifted(x=60)),
    "nothing but zeros": Fault(("error", "0 points are too few for a scene"), lambda p: p * 0),
    "few": Fault(("error", "10 points are too few for a scene"), lambda p: p[:10]),
    "nan": Fault(("note", "2,400 of 24,000 rows hold NaN or infinity; they stay in place"), with_rows(0.1, np.nan)),
    "zeros": Fault(("warning", "5% of the points are exactly 0 0 0", "write NaN instead"), with_rows(0.05, 0)),
    "identical": Fault(("error", "hold the same points; give two consecutive sweeps"), second=lambda p: None),
    "2 Hz by names": Fault(("error", "0.50 s apart (2 Hz)", "not key frames"), seconds=[0, 0.5]),
    "5 Hz by names": Fault(("warning", "0.20 s apart (5 Hz)"), seconds=[0, 0.2]),
    "50 Hz by names": Fault(("warning", "0.020 s apart", "leave some out"), seconds=[0, 0.02]),
    "2 Hz by motion": Fault(
        ("error", "goes 5.0 m from sweep to sweep, 180 km/h at 10 Hz: are these key frames of 2 Hz (36 km/h)?"),
        poses=[motion(), motion(x=5)],
        second=lambda p: sweep(motion(x=5), seed=1),
    ),
    "order": Fault(("error", "sweep 2 is 0.100 s before the one that it follows"), seconds=[0, -0.1]),
    "no times": Fault(("note", "neither names nor poses tell the sweeps' times")),
    "no poses": Fault(
        ("warning", "ego motion by registration: travel 1.00 m", "% of the scene; --poses is surer"), poses=None
    ),
    "registration": Fault(("error", "registration lays no sweep on the other"), second=scattered, poses=None),
    "precision": Fault(
        ("warning", "stored in steps of 0.25 m (float32 far from the origin", "store them as float64"), poses=far(POSES)
    ),
    "camera": Fault(
        ("error", "go along z, as a camera's do", "--calib calib.txt"),
        poses=[CAMERA_SE3_EGO @ p @ inverse_SE3(CAMERA_SE3_EGO) for p in POSES],
    ),
    "compensated": Fault(("error", "in one frame already; give --compensated"), second=into_first),
    "inverted": Fault(
        ("error", "by the inverse of the poses: poses must map", "invert them, or swap the sweeps"),
        poses=[inverse_SE3(p) for p in POSES],
    ),
    "inverted on a map": Fault(
        ("error", "by the inverse of the poses: poses must map", "invert them"), poses=[inverse_SE3(p) for p in ON_MAP]
    ),
    "right on a map": Fault(("note", "neither names nor poses tell the sweeps' times"), poses=ON_MAP),
    "misfit": Fault(("warning", "registration moves the sweeps by another 0.50 m"), poses=[motion(), motion(x=1.5)]),
    "not compensated": Fault(
        ("warning", "the sweeps lie 1.00 m and 0.0", "apart; leave it out"), poses=None, options=("--compensated",)
    ),
    "sideways": Fault(
        ("warning", "goes sideways (x -0.00, y +1.00 m)"), axes((0, -1, 0), (1, 0, 0), (0, 0, 1)), poses=TURNED
    ),
    "backwards": Fault(
        ("warning", "goes backwards (x -1.00 m)"),
        poses=[motion(), motion(x=-1)],
        second=lambda p: sweep(motion(x=-1), seed=1),
    ),
}


def files(street: list[np.ndarray], fault: Fault, folder: Path) -> list[object]:
    names = ["a", "b"] if fault.seconds is None else [str(START_NS + round(s * 1e9)) for s in fault.seconds]
    first, second = (fault.change(points) for points in street)
    changed = fault.second(second)
    clouds = [first, first if changed is None else changed]
    arguments: list[object] = [write(folder / f"{n}.npy", p) for n, p in zip(names, clouds, strict=True)]
    if fault.poses is not None:
        np.save(folder / "poses.npy", np.stack(fault.poses))
        (folder / "poses").mkdir()
        arguments += ["--poses", (folder / "poses.npy").rename(folder / "poses/poses.npy")]
    return [*arguments, *fault.options, "--no-picture"]


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
