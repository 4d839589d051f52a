# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from models.data.logfile import LogColumns
from stages.frames.write import write_columns
from stages.labels.cluster import ClusterParameters, cluster_labels, cluster_log
from stages.labels.fusion import VoteParameters, jumping, voted_labels
from tests.labels.logs import write_frames

VOTES = VoteParameters(near=0.14, far=4.4, least_share=0.05, most_share=0.3)
PARAMETERS = ClusterParameters("seflow", 20, epsilon=0.7, alpha=1.0, single_cluster=True, voxel=0.0, votes=VOTES)


def blob(rng: np.random.Generator, count: int, x: float) -> np.ndarray:
    return rng.uniform(-0.5, 0.5, (count, 3)) + [x, 0.0, 0.0]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 19])
def test_few_dynamic_points_are_dynamic_without_a_cluster(count: int) -> None:
    points = blob(np.random.default_rng(0), 100, 0.0)
    labels = cluster_labels(points, np.arange(100) < count, PARAMETERS)
    assert labels.dtype == np.int16
    assert labels.tolist() == [1] * count + [0] * (100 - count)


@pytest.mark.parametrize("count", [20, 21])
def test_at_the_least_size_nothing_breaks(count: int) -> None:
    labels = cluster_labels(blob(np.random.default_rng(0), count, 0.0), np.ones(count, np.bool_), PARAMETERS)
    assert len(labels) == count and (labels >= 1).all()


def test_two_objects_noise_and_static_points() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate(
        [blob(rng, 200, 0.0), blob(rng, 100, 9.0), [[40.0, 0, 0], [0, 40.0, 0]], blob(rng, 50, 20.0)]
    )
    labels = cluster_labels(points, np.arange(352) < 302, PARAMETERS)
    first, second, noise, static = np.split(labels, [200, 300, 302])
    assert (first == first[0]).all() and (second == second[0]).all()
    assert {first[0], second[0]} == {2, 3}
    assert (noise == 1).all() and (static == 0).all()


@pytest.mark.parametrize(("single", "expected"), [(True, {2}), (False, {1, 2, 3})])
def test_a_lone_object_is_one_cluster_only_if_allowed(single: bool, expected: set[int]) -> None:
    rng = np.random.default_rng(0)
    side = rng.uniform(0, 1, (300, 3)) * [4.5, 0.0, 1.5]
    back = rng.uniform(0, 1, (150, 3)) * [0.0, 1.8, 1.5]
    car = np.concatenate([side, back]) + rng.normal(0, 0.02, (450, 3))
    parameters = ClusterParameters("seflow", 20, 0.7, 1.0, single, 0.0, VOTES)
    assert set(cluster_labels(car, np.ones(450, np.bool_), parameters).tolist()) == expected


THINNED = ClusterParameters(**{**vars(PARAMETERS), "voxel": 0.1})


def test_points_of_a_voxel_share_a_label_and_the_least_size_counts_voxels() -> None:
    # 19 voxels of three points each make no cluster, though they are 57 points; 40 and 40 make two.
    row = np.repeat(np.arange(100) * 0.1 + 0.05, 3)  # (300,) along x
    points = np.stack([row, np.full(300, 0.02), np.full(300, 0.02)], axis=1)
    few = cluster_labels(points, np.arange(300) < 57, THINNED)
    assert set(few[:57].tolist()) == {1} and not few[57:].any()
    points[150:, 0] += 20.0
    labels = cluster_labels(points, np.ones(300, np.bool_), THINNED)
    assert set(labels[:150].tolist()) != set(labels[150:].tolist())
    assert np.array_equal(labels[::3], labels[1::3]) and np.array_equal(labels[::3], labels[2::3])


def test_thinning_leaves_dense_objects_as_they_are() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([blob(rng, 4000, 0.0), blob(rng, 2000, 9.0), [[40.0, 0, 0]], blob(rng, 300, -15.0)])
    mask = np.ones(len(points), np.bool_)
    full, thinned = cluster_labels(points, mask, PARAMETERS), cluster_labels(points, mask, THINNED)
    pairs = set(zip(full.tolist(), thinned.tolist(), strict=True))
    assert len(pairs) == 4 and (1, 1) in pairs


def test_repeats_are_equal() -> None:
    rng = np.random.default_rng(3)
    points = np.concatenate([blob(rng, 150, 0.0), blob(rng, 150, 5.0), rng.uniform(-40, 40, (30, 3))])
    mask = np.ones(len(points), np.bool_)
    labels = cluster_labels(points, mask, PARAMETERS)
    assert np.array_equal(labels, cluster_labels(points, mask, PARAMETERS))


def test_ids_are_per_sweep_and_ground_never_clusters(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sweep = np.concatenate([blob(rng, 200, 0.0), blob(rng, 200, 9.0)])
    frames = write_frames(tmp_path / "log.h5", [sweep, sweep[:0], sweep])
    ground = np.arange(800) >= 600  # the second object of the last sweep
    made_from = {"frames_digest": frames.digest}
    write_columns(tmp_path / "ground.h5", "ground/1", {"ground": ground}, made_from)
    write_columns(tmp_path / "dynamic.h5", "dynamic/1", {"dynamic": np.ones(800, np.bool_)}, made_from)
    inputs = {kind: tmp_path / f"{kind}.h5" for kind in ("ground", "dynamic")}
    cluster_log("log", {"frames": frames.path, **inputs}, {"clusters": tmp_path / "c.h5"}, PARAMETERS)
    label = LogColumns.open(tmp_path / "c.h5", "clusters/1", frames).column("label")
    assert label.dtype == np.int16
    assert set(label[:400].tolist()) == {2, 3}
    assert set(label[400:600].tolist()) == {2} and not label[600:].any()


@pytest.mark.parametrize(
    ("change", "name"),
    [({"min_cluster_size": 1}, "min_cluster_size"), ({"epsilon": -0.1}, "epsilon"), ({"alpha": 0.0}, "alpha")],
)
def test_senseless_parameters_are_refused_by_name(change: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} "):
        ClusterParameters(**{**vars(PARAMETERS), **change})


def test_votes_by_hand() -> None:
    """Five clusters of twenty points: shares (free, jumped) on both sides of both thresholds; the last are outside."""
    shares = [(0.1, 0.35), (0.35, 0.1), (0.05, 0.9), (0.3, 0.3), (0.9, 0.0)]
    clusters = np.repeat([0, 1, 2, 3, 4, -1], 20)
    free, jumped = (
        np.concatenate([*(np.arange(20) < round(20 * pair[i]) for pair in shares), np.ones(20, np.bool_)])
        for i in (0, 1)
    )
    labels = voted_labels(clusters, free, jumped, VOTES)
    assert labels.reshape(6, 20).tolist() == [[2] * 20, [3] * 20, [0] * 20, [0] * 20, [0] * 20, [0] * 20]
    assert len(voted_labels(clusters[:0], free[:0], jumped[:0], VOTES)) == 0


def test_points_jump_where_the_next_sweep_has_nothing_near(tmp_path: Path) -> None:
    """In the frame of the other sweep: the ego car drives 1 m a sweep, the points stand but for one."""
    poses = np.broadcast_to(np.eye(4), (4, 4, 4)).copy()
    poses[:, 0, 3] = np.arange(4)
    city = np.array([[5.0, 0, 0], [5, 5, 0], [9, -9, 0], [30, 30, 0]])
    moved = city + [[0.0, 0, 0], [0.2, 0, 0], [0.13, 0, 0], [9, 0, 0]]
    sweeps = [points - [t, 0, 0] for t, points in enumerate((city, moved, city, city))]
    frames = write_frames(tmp_path / "log.h5", sweeps, poses, pair_next=[True, False, False, False])
    assert jumping(frames, 0, VOTES).tolist() == [False, True, False, False]  # 0, 0.2, 0.13 and 9 m away
    assert jumping(frames, 1, VOTES).tolist() == [False, True, False, False]  # before a gap: by the sweep before
    assert not jumping(frames, 3, VOTES).any()  # alone


def test_seflow_pp_keeps_whole_clusters_of_moving_things(tmp_path: Path) -> None:
    """A moving and a standing object; free space saw a third of the moving one and nothing of the other."""
    rng = np.random.default_rng(0)
    car, wall = blob(rng, 200, 0.0), blob(rng, 200, 9.0)
    sweeps = [np.concatenate([car + [0.7 * t, 0, 0], wall, [[40.0, 0, 0]]]) for t in range(2)]
    frames = write_frames(tmp_path / "log.h5", sweeps)
    dynamic = np.tile(np.arange(401) < 70, 2)
    dynamic[[400, 801]] = True  # lone points
    made_from = {"frames_digest": frames.digest}
    write_columns(tmp_path / "ground.h5", "ground/1", {"ground": np.zeros(802, np.bool_)}, made_from)
    write_columns(tmp_path / "dynamic.h5", "dynamic/1", {"dynamic": dynamic}, made_from)
    inputs = {kind: tmp_path / f"{kind}.h5" for kind in ("ground", "dynamic")}
    parameters = ClusterParameters(**{**vars(PARAMETERS), "recipe": "seflow++", "alpha": 1.1})
    cluster_log("log", {"frames": frames.path, **inputs}, {"clusters": tmp_path / "c.h5"}, parameters)
    label = LogColumns.open(tmp_path / "c.h5", "clusters/1", frames).column("label").reshape(2, 401)
    for sweep in label:
        assert len(set(sweep[:200].tolist())) == 1 and sweep[0] >= 2  # all of the car, one cluster
        assert not sweep[200:].any()


def test_senseless_votes_are_refused_by_name() -> None:
    for change, name in (
        ({"near": 5.0}, "near"),
        ({"least_share": 1.0}, "least_share"),
        ({"most_share": -0.1}, "most"),
    ):
        with pytest.raises(ValueError, match=f"^{name}"):
            VoteParameters(**{**vars(VOTES), **change})
