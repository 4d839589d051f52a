# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Each reader on a file written out by hand, and each writer: all rows, all fields, the same numbers."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from models.errors import InputError
from stages.estimation.cloud import Cloud
from stages.estimation.formats import FORMATS, cloud_bytes, read_cloud
from stages.estimation.lzf import decompress

XYZ = np.array([[1.5, -2.0, 0.25], [np.nan, 0.0, 3.0], [0.1, 1e-7, -40.0]], np.float32)
FLOW = {
    **{f"{name}_{axis}": np.float32([0.1, np.nan, i]) for name in ("flow", "residual") for i, axis in enumerate("xyz")},
    "covered": np.array([True, False, False]),
}
NAMES = list(FLOW)

PCD = """# .PCD v0.7
VERSION 0.7
FIELDS x y z ring
SIZE 4 4 4 2
TYPE F F F U
COUNT 1 1 1 1
WIDTH 3
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 3
DATA {}
"""
PLY = """ply
format {} 1.0
comment by hand
element vertex 3
property float x
property float y
property float z
property uchar ring
end_header
"""
TEXT = "1.5 -2 0.25 7\nnan 0 3 8\n0.1 1e-7 -40 9\n"
RING = [7, 8, 9]


def records(ring: str, order: str = "<") -> np.ndarray:
    result = np.zeros(3, dtype=[("x", f"{order}f4"), ("y", f"{order}f4"), ("z", f"{order}f4"), ("ring", order + ring)])
    for i, axis in enumerate("xyz"):
        result[axis] = XYZ[:, i]
    result["ring"] = RING
    return result


def literal(data: bytes) -> bytes:
    """LZF without references: runs of at most 32 bytes behind their length less one."""
    return b"".join(bytes([len(data[i : i + 32]) - 1]) + data[i : i + 32] for i in range(0, len(data), 32))


def compressed() -> bytes:
    rows = records("u2")
    fields = b"".join(rows[name].tobytes() for name in rows.dtype.names)
    packed = literal(fields)
    return PCD.format("binary_compressed").encode() + struct.pack("<II", len(packed), len(fields)) + packed


def table(kind: type[pa.DataType] | None = None) -> pa.Table:
    return pa.table({**{axis: pa.array(XYZ[:, i]) for i, axis in enumerate("xyz")}, "ring": pa.array(RING, pa.uint8())})


def npy(path: Path) -> None:
    np.save(path, np.column_stack([XYZ, RING]).astype(np.float32))


def structured(path: Path) -> None:
    np.save(path, records("u1"))


def in_bytes(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def twice() -> pa.Table:
    """A table with two columns x."""
    return pa.Table.from_arrays([pa.array([1.0, 2.0])] * 4, names=["x", "x", "y", "z"])


def huge_with_null() -> pa.Table:
    """Whole numbers that float64 does not hold, and one that is missing."""
    return pa.table({"x": pa.array([2**53 + 1, None], pa.int64()), "y": [1.0, 2.0], "z": [1.0, 2.0]})


def text_z() -> np.ndarray:
    return np.array([(1.0, 2.0, "up")], dtype=[("x", "f4"), ("y", "f4"), ("z", "U4")])


def feather_with_null(path: Path) -> None:
    x = pa.array([1.5, None, 0.1], pa.float32())
    pa.feather.write_feather(table().set_column(0, "x", x), path)


HAND = {
    "npy": (".npy", npy),
    "structured npy": (".npy", structured),
    "npz": (".npz", lambda path: np.savez(path, points=XYZ, ring=RING)),
    "npz of axes": (".npz", lambda path: np.savez(path, x=XYZ[:, 0], y=XYZ[:, 1], z=XYZ[:, 2], ring=RING)),
    "bin": (".bin", lambda path: path.write_bytes(struct.pack("<12f", *np.column_stack([XYZ, RING]).ravel()))),
    "pcd ascii": (".pcd", lambda path: path.write_text(PCD.format("ascii") + TEXT)),
    "pcd binary": (".pcd", lambda path: path.write_bytes(PCD.format("binary").encode() + records("u2").tobytes())),
    "pcd compressed": (".pcd", lambda path: path.write_bytes(compressed())),
    "ply ascii": (".ply", lambda path: path.write_text(PLY.format("ascii") + TEXT)),
    "ply little": (
        ".ply",
        lambda path: path.write_bytes(PLY.format("binary_little_endian").encode() + records("u1").tobytes()),
    ),
    "ply big": (
        ".ply",
        lambda path: path.write_bytes(PLY.format("binary_big_endian").encode() + records("u1", ">").tobytes()),
    ),
    "feather": (".feather", lambda path: pa.feather.write_feather(table(), path)),
    "feather with null": (".feather", feather_with_null),
    "parquet": (".parquet", lambda path: pa.parquet.write_table(table(), path)),
    "csv": (".csv", lambda path: path.write_text("x,y,z,ring\n1.5,-2,0.25,7\nnan,0,3,8\n0.1,1e-7,-40,9\n")),
    "csv with gap": (".csv", lambda path: path.write_text("x,y,z,ring\n1.5,-2,0.25,7\n,0,3,8\n0.1,1e-7,-40,9\n")),
}


def by_hand(folder: Path, case: str) -> Path:
    suffix, make = HAND[case]
    path = folder / f"cloud{suffix}"
    make(path)
    return path


@pytest.mark.parametrize("case", HAND)
def test_a_file_written_by_hand_gives_its_points(case: str, tmp_path: Path) -> None:
    cloud = read_cloud(by_hand(tmp_path, case))
    np.testing.assert_array_equal(cloud.xyz, XYZ)
    assert cloud.xyz.dtype == np.float32
    assert cloud.valid.tolist() == [True, False, True]
    assert cloud.note == ""


def fields(cloud: Cloud) -> dict[str, np.ndarray]:
    """All columns of a written cloud by name, whatever its kind."""
    content = cloud.content
    if isinstance(content, pa.Table):
        return {name: content[name].to_numpy(zero_copy_only=False) for name in content.column_names}
    if isinstance(content, dict):
        flows = {f"{name}_{axis}": content[name][:, i] for name in ("flow", "residual") for i, axis in enumerate("xyz")}
        return {**content, **flows}
    rows = getattr(content, "records", content)
    return {name: rows[name] for name in rows.dtype.names}


@pytest.mark.parametrize("case", [case for case in HAND if case not in ("npy", "bin")])
def test_the_output_has_all_that_was_read_and_the_flow(case: str, tmp_path: Path) -> None:
    path = by_hand(tmp_path, case)
    out = tmp_path / f"out{path.suffix}"
    out.write_bytes(cloud_bytes(read_cloud(path), FLOW))
    written = read_cloud(out)
    np.testing.assert_array_equal(written.xyz, XYZ)
    assert list(fields(written)["ring"]) == RING
    for name, column in FLOW.items():
        np.testing.assert_array_equal(fields(written)[name].astype(column.dtype), column)
        if column.dtype == np.float32 and path.suffix != ".csv":
            assert fields(written)[name].dtype == np.float32 or path.suffix == ".ply"


@pytest.mark.parametrize("case", ["npy", "bin"])
def test_columns_without_names_stand_behind_the_files_own(case: str, tmp_path: Path) -> None:
    content = cloud_bytes(read_cloud(by_hand(tmp_path, case)), FLOW)
    if case == "bin":
        rows = np.frombuffer(content, "<f4").reshape(3, -1)
    else:
        (tmp_path / "out.npy").write_bytes(content)
        rows = np.load(tmp_path / "out.npy")
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, np.column_stack([XYZ, RING, *FLOW.values()]).astype(np.float32))


@pytest.mark.parametrize("case", ["pcd ascii", "pcd binary", "pcd compressed", "ply ascii", "ply little", "ply big"])
def test_a_header_keeps_its_kind(case: str, tmp_path: Path) -> None:
    path = by_hand(tmp_path, case)
    words = cloud_bytes(read_cloud(path), FLOW).split(b"\n", 12)
    kinds = {"pcd ascii": b"DATA ascii", "ply big": b"format binary_big_endian 1.0", "ply ascii": b"format ascii 1.0"}
    kinds |= {"ply little": b"format binary_little_endian 1.0"}
    assert kinds.get(case, b"DATA binary") in words
    assert case.startswith("pcd") or b"comment by hand" in words


def test_a_double_precision_array_keeps_its_points(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[0.1, 0.2, 0.3]]))
    (tmp_path / "b.npy").write_bytes(cloud_bytes(read_cloud(tmp_path / "a.npy"), {"flow_x": np.float32([0.7])}))
    assert np.load(tmp_path / "b.npy").tolist() == [[0.1, 0.2, 0.3, float(np.float32(0.7))]]


def test_nuscenes_files_have_five_numbers_a_point(tmp_path: Path) -> None:
    path = tmp_path / "a.pcd.bin"
    path.write_bytes(struct.pack("<10f", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
    assert read_cloud(path).xyz.tolist() == [[1, 2, 3], [6, 7, 8]]


def test_lzf_references_by_hand() -> None:
    """abcabcabcabcX: three literals, a copy of nine from three back (it overlaps what it writes), a literal."""
    assert decompress(b"\x02abc" + b"\xe0\x00\x02" + b"\x00X", 13) == b"abcabcabcabcX"
    assert decompress(b"\x03abcd" + b"\x20\x03", 7) == b"abcdabc"


@pytest.mark.parametrize(
    ("data", "size", "reason"),
    [(b"\x02abc", 4, "give 3 bytes, not 4"), (b"\x02abc\x20", 6, "end within"), (b"\x00a\x20\x05", 4, "6 bytes back")],
)
def test_damaged_lzf_is_told(data: bytes, size: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decompress(data, size)


def test_a_viewpoint_that_is_a_pose_is_remarked(tmp_path: Path) -> None:
    path = tmp_path / "a.pcd"
    for viewpoint, remarked in (("5 0 0 1 0 0 0", True), ("10 0 0 1 0 0 0", True), ("0.0 0 -0 1.0 0 0 0", False)):
        path.write_text(PCD.format("ascii").replace("0 0 0 1 0 0 0", viewpoint) + TEXT)
        assert ("VIEWPOINT is a pose, which is not read" in read_cloud(path).note) == remarked


def test_faces_of_a_mesh_are_remarked(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    faces = "element face 1\nproperty list uchar int vertex_indices\nend_header"
    path.write_text(PLY.format("ascii").replace("end_header", faces) + TEXT + "3 0 1 2\n")
    cloud = read_cloud(path)
    np.testing.assert_array_equal(cloud.xyz, XYZ)
    assert "elements face are left out" in cloud.note


BAD = {
    "unknown kind": ("a.las", b"LASF", r"a\.las is of no known kind; wanted \.npy, \.npz, \.bin"),
    "npy text": ("a.npy", b"1 2 3\n", r"a\.npy cannot be read as \.npy"),
    "npz cut": ("a.npz", b"PK\x03\x04cut", r"a\.npz cannot be read as \.npz"),
    "bin cut": ("a.bin", b"\0" * 30, r"a\.bin has 30 bytes, not a multiple of 16 .* truncated or of another layout"),
    "bin empty": ("a.bin", b"", "has 0 bytes"),
    "pcd without header": ("a.pcd", b"1 2 3\n", "has no line DATA: it is no PCD file, or truncated"),
    "pcd without type": ("a.pcd", b"FIELDS x y z\nSIZE 4 4 4\nDATA ascii\n", "has no line TYPE in its header"),
    "pcd cut": ("a.pcd", PCD.format("binary").encode() + b"\0" * 41, "truncated: 3 points take 42 bytes, it holds 41"),
    "pcd compressed cut": (
        "a.pcd",
        compressed()[:-1],
        "truncated: 44 bytes of compressed points are told, 43 are there",
    ),
    "pcd ascii cut": ("a.pcd", (PCD.format("ascii") + TEXT[:24]).encode(), "header tells of 3 points, it holds 2"),
    "pcd other data": ("a.pcd", PCD.format("zip").encode(), "has DATA 'zip'"),
    "pcd without z": ("a.pcd", (PCD.replace("x y z", "x y w").format("ascii") + TEXT).encode(), "has no field z"),
    "ply cut": (
        "a.ply",
        PLY.format("binary_little_endian").encode() + b"\0" * 12,
        "truncated: 3 vertices take 39 bytes",
    ),
    "ply without header": ("a.ply", b"off\n", "no header from ply to end_header"),
    "ply unknown format": ("a.ply", PLY.format("zipped").encode(), "has format 'zipped'"),
    "ply list": (
        "a.ply",
        PLY.replace("uchar ring", "list uchar int r").format("ascii").encode(),
        "has a list property r in its vertices",
    ),
    "ply words": ("a.ply", (PLY.format("ascii") + "1 2 three 4\n").encode(), "has a row that does not fit its header"),
    "feather cut": ("a.feather", b"ARROW1\0\0", r"a\.feather cannot be read as \.feather"),
    "parquet empty": ("a.parquet", b"", r"a\.parquet cannot be read as \.parquet"),
    "csv without header": (
        "a.csv",
        b"1,2,3\n4,5,6\n",
        r"has no column x \(it has 1, 2, 3\); points need columns x, y and z",
    ),
    "csv with x twice": ("a.csv", b"x,x,y,z\n1,2,3,4\n", r"a\.csv has 2 columns x; leave one of them"),
    "feather with x twice": (
        "a.feather",
        in_bytes(lambda stream: pa.feather.write_feather(twice(), stream)),
        r"a\.feather has 2 columns x; leave one of them",
    ),
    "parquet of huge whole numbers": (
        "a.parquet",
        in_bytes(lambda stream: pa.parquet.write_table(huge_with_null(), stream)),
        "has in column x missing values beside whole numbers beyond 2.53, .* give that column as float64",
    ),
    "csv of huge whole numbers": ("a.csv", b"x,y,z\n9007199254740993,1,2\n,1,2\n", "column x missing values beside"),
    "ply property twice": (
        "a.ply",
        (PLY.replace("uchar ring", "float x").format("ascii") + TEXT).encode(),
        r"a\.ply has the property x twice in element vertex",
    ),
    "ply of fewer than none": (
        "a.ply",
        (PLY.replace("vertex 3", "vertex -5").format("ascii") + TEXT).encode(),
        "header line that cannot be read: element vertex -5",
    ),
    "ply binary of fewer than none": (
        "a.ply",
        PLY.replace("vertex 3", "vertex -5").format("binary_little_endian").encode() + b"\0" * 39,
        "header line that cannot be read: element vertex -5",
    ),
    "ply without properties": (
        "a.ply",
        b"ply\nformat binary_little_endian 1.0\nelement vertex 3\nend_header\n",
        "has no field x",
    ),
    "structured npy of text": (
        "a.npy",
        in_bytes(lambda stream: np.save(stream, text_z())),
        r"a\.npy has field z of type <U4, wanted numbers",
    ),
    "csv of words": ("a.csv", b"x,y,z\n1,2,up\n", "has column z of type string, wanted numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_told_in_one_sentence(case: str, tmp_path: Path) -> None:
    name, content, message = BAD[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_cloud(tmp_path / name)
    assert "\n" not in str(error.value) and name in str(error.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", HAND)
def test_damaged_bytes_are_told_or_read_and_never_crash(case: str, tmp_path: Path) -> None:
    """Cut at up to 100 places, and 200 times with a few bytes turned, as a bad disk or transfer leaves a file."""
    path = by_hand(tmp_path, case)
    content = path.read_bytes()
    random = np.random.default_rng(0)
    damaged = [content[:end] for end in range(0, len(content), max(1, len(content) // 100))]
    for _ in range(200):
        bytes_ = np.frombuffer(content, np.uint8).copy()
        bytes_[random.integers(len(content), size=3)] = random.integers(256, size=3)
        damaged.append(bytes_.tobytes())
    told = 0
    for piece in damaged:
        path.write_bytes(piece)
        try:
            read_cloud(path)
        except InputError:
            told += 1
    assert told > 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": XYZ, "b": XYZ}, "does not say which array holds the points .it has a, b."),
        ({"x": XYZ[:, 0], "y": XYZ[:2, 1], "z": XYZ[:, 2]}, "arrays x, y and z of shapes"),
        ({"points": np.array([["a", "b", "c"]])}, "wanted numbers"),
    ],
)
def test_an_archive_must_say_what_its_points_are(arrays: dict, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_cloud(tmp_path / "a.npz")


def test_a_flat_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 2)))
    with pytest.raises(InputError, match=r"array of shape \(4, 2\) and type float64; wanted numbers \(N, 3\)"):
        read_cloud(tmp_path / "a.npy")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.bin cannot be read .No such file"):
        read_cloud(tmp_path / "none.bin")


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".ply"])
def test_a_file_that_has_the_outputs_columns_is_refused(suffix: str, tmp_path: Path) -> None:
    case = next(case for case, (end, _) in HAND.items() if end == suffix)
    path = by_hand(tmp_path, case)
    out = tmp_path / f"out{suffix}"
    out.write_bytes(cloud_bytes(read_cloud(path), FLOW))
    with pytest.raises(InputError, match="already has a column flow"):
        cloud_bytes(read_cloud(out), FLOW)


def test_every_format_was_tried_by_hand() -> None:
    assert {suffix for suffix, _ in HAND.values()} == set(FORMATS)
