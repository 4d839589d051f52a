# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs, their labels and their truth, held-out blocks, order, and augmentation by geometry."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.data.augment import AugmentParameters, draw
from models.data.labels import TrainLog, open_logs
from models.data.module import EpochSampler, PairData, PairDataset, changed, split_pairs
from models.data.pairs import _all_finite, moved
from models.data.samples import Sample, collate
from models.errors import InputError
from models.geometry import make_SE3, transform_points
from models.grid import Grid
from stages.frames.write import write_columns
from tests.models.synthetic import write_log

GRID = Grid((-16.0, -16.0, -1.0), (16.0, 16.0, 4.0), 1.0)
NO_CHANGE = AugmentParameters(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def logs(data: Path, kind: str) -> list[TrainLog]:
    ids = sorted(path.stem for path in (data / "frames/train").iterdir())
    return open_logs(data / "frames/train", data / "ground/train", data / kind / "train", kind, ids)


def test_static_points_lie_still_in_the_frame_of_the_second_sweep(data: Path) -> None:
    log = logs(data, "clusters")[0]
    sample = log.sample(0)
    static0 = sample.points0[sample.labels0 == 0]
    static1 = sample.points1[sample.labels1 == 0]
    assert len(static0) == len(static1) == 300  # ground is gone
    np.testing.assert_allclose(static0, static1, atol=0.02)  # float16 storage


def test_ego_motion_is_removed_exactly_but_for_rounding() -> None:
    turn = np.array([[0.0, -1, 0, 10], [1, 0, 0, -20], [0, 0, 1, 0.5], [0, 0, 0, 1]])
    points = np.array([[1, 2, 3], [-4, 8, 0.25]], dtype=np.float32)
    np.testing.assert_array_equal(moved(turn, points), [[8, -19, 3.5], [2, -24, 0.75]])

    random = np.random.default_rng(0)
    sweep = random.uniform([-200, -200, -5], [200, 200, 40], (20_000, 3)).astype(np.float32)
    c, s = np.cos(0.05), np.sin(0.05)
    motion = make_SE3([[c, -s, 0], [s, c, 0], [0, 0, 1]], [2.7, -0.1, 0.02])
    rounding = np.spacing(np.float32(200))  # of a coordinate, m: half of it by the sum, the rest by what is added
    np.testing.assert_allclose(moved(motion, sweep), transform_points(motion, sweep), rtol=0, atol=rounding)


def test_truth_becomes_residual_flow(data: Path) -> None:
    sample, labelled = logs(data, "truth")[0].sample(0), logs(data, "clusters")[0].sample(0)
    box = labelled.labels0 == 2
    c, s = np.cos(0.01), np.sin(0.01)  # the axes of ego frame 1, turned by its yaw in the city
    np.testing.assert_allclose(sample.flow[box], np.tile([0.8 * c, -0.8 * s, 0], (box.sum(), 1)), atol=1e-5)
    np.testing.assert_allclose(sample.flow[labelled.labels0 == 0], 0, atol=1e-5)
    assert sample.valid.all() and set(sample.category) == {0, 19}


def test_points_are_cut_to_the_grid_with_their_labels(data: Path) -> None:
    small = Grid((-8.0, -8.0, -1.0), (8.0, 8.0, 4.0), 1.0)
    log = logs(data, "clusters")
    whole, cut = (
        PairDataset(log, [(0, 0)], grid, 0)[(0, 0)] for grid in (Grid((-80, -80, -9), (80, 80, 9), 10.0), small)
    )
    inside = (np.abs(whole.points0[:, :2]) < 8).all(1)
    np.testing.assert_array_equal(cut.points0, whole.points0[inside])
    np.testing.assert_array_equal(cut.labels0, whole.labels0[inside])


@pytest.mark.parametrize(
    ("pairs", "share", "train", "held"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 0.2, [0, 1, 2, 3, 4, 5, 6], [8, 9]),
        ([0, 1, 2, 3], 0.0, [0, 1, 2, 3], []),
        ([0, 1, 2], 0.1, [0], [2]),
        ([0, 1], 0.1, [0, 1], []),
        ([0, 1, 5, 6], 0.5, [0, 1], [5, 6]),  # a gap before the block: nothing shares a sweep
        ([], 0.5, [], []),
    ],
)
def test_held_out_block(pairs: list[int], share: float, train: list[int], held: list[int]) -> None:
    got = split_pairs(np.array(pairs, dtype=np.int64), share)
    assert (got[0].tolist(), got[1].tolist()) == (train, held)


def test_held_out_block_of_three_sweeps_shares_none_of_them() -> None:
    train, held = split_pairs(np.arange(11), 0.2, sweeps=3)
    assert (train.tolist(), held.tolist()) == ([0, 1, 2, 3, 4, 5, 6], [9, 10])  # 9 reads sweeps 8 to 10, 6 reads 5 to 7
    assert split_pairs(np.array([1, 2, 3]), 0.1, sweeps=3)[0].tolist() == [1, 2, 3]  # else none would be left


def test_order_depends_on_seed_and_epoch_alone() -> None:
    sampler = EpochSampler(10, seed=3, shuffle=True)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == first and [n for _, n in second] != [n for _, n in first]
    assert sorted(n for _, n in second) == list(range(10)) and {e for e, _ in second} == {1}


def test_ranks_share_an_epoch() -> None:
    parts = [[n for _, n in EpochSampler(5, 0, True, rank, 2)] for rank in (0, 1)]
    assert [len(part) for part in parts] == [3, 3] and set(parts[0]) | set(parts[1]) == set(range(5))


def epochs(data: Path, workers: int, numbers: list[int], leave: bool = False) -> list[list[NDArray[np.float32]]]:
    """Points of the batches of some epochs; with `leave` each epoch is left after its first batch."""
    augment = AugmentParameters(flip=0.5, rotation=90.0, scale=0.0, height=0.0, reverse=0.5, drop=0.5, jitter=0.0)
    loader = PairData(logs(data, "clusters"), GRID, 7, 2, 0.0, 1, augment, workers).train_dataloader()
    found = []
    for epoch in numbers:
        loader.sampler.set_epoch(epoch)
        batches = []
        for batch in loader:
            batches.append(batch.cloud0.points.numpy())
            if leave:
                break
        assert leave or len(batches) == len(loader) > 1
        found.append(batches)
    return found


@pytest.mark.parametrize(
    ("numbers", "leave"), [([0, 1, 2], False), ([5, 6], False), ([0, 1, 2], True), ([1, 1], False)]
)
def test_workers_that_read_on_into_the_next_epoch_change_no_batch(data: Path, numbers: list[int], leave: bool) -> None:
    alone, ahead = (epochs(data, workers, numbers, leave) for workers in (0, 2))
    for a, b in zip(alone, ahead, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_workers_read_on_while_an_epoch_runs(data: Path) -> None:
    loader = PairData(logs(data, "clusters"), GRID, 7, 2, 0.0, 1, None, 1).train_dataloader()
    list(loader)
    first = loader._batches
    loader.sampler.set_epoch(1)
    list(loader)
    assert loader._batches is first and loader._ahead.epoch >= 1


def moving_sample() -> Sample:
    """A rigid body and where it is one sweep later, so that point i + flow i = point i of sweep 1."""
    random = np.random.default_rng(0)
    points = random.uniform(-5, 5, (50, 3)).astype(np.float32)
    flow = np.tile(np.float32([0.7, 0.2, 0.0]), (50, 1))
    labels = np.arange(50, dtype=np.int16) % 4
    row = np.arange(50)
    return Sample(points, points + flow, labels, labels + 10, flow, row % 3 > 0, row.astype(np.uint8))


@pytest.mark.parametrize("seed", range(8))
def test_augmented_flow_still_leads_to_the_next_sweep(seed: int) -> None:
    augment = AugmentParameters(flip=0.5, rotation=180.0, scale=0.2, height=1.0, reverse=0.0, drop=0.0, jitter=0.0)
    got = changed(moving_sample(), augment, np.random.default_rng(seed))
    np.testing.assert_allclose(got.points0 + got.flow, got.points1, atol=1e-5)
    assert not np.allclose(got.points0, moving_sample().points0)


def test_augmentation_keeps_shapes() -> None:
    augment = replace(NO_CHANGE, flip=0.5, rotation=90.0)
    linear = [draw(augment, np.random.default_rng(seed)).linear for seed in range(20)]
    np.testing.assert_allclose([matrix @ matrix.T for matrix in linear], np.tile(np.eye(3), (20, 1, 1)), atol=1e-6)
    assert {round(float(np.linalg.det(matrix))) for matrix in linear} == {-1, 1}


def test_reversed_pair_swaps_sweeps_and_labels() -> None:
    sample = moving_sample()
    got = changed(sample, replace(NO_CHANGE, reverse=1.0), np.random.default_rng(0))
    np.testing.assert_array_equal(got.points0, sample.points1)
    np.testing.assert_array_equal(got.labels0, sample.labels1)
    assert got.flow is None


def test_dropped_points_take_their_labels_with_them() -> None:
    sample = moving_sample()
    got = changed(sample, replace(NO_CHANGE, drop=0.5), np.random.default_rng(0))
    rows = [np.flatnonzero((sample.points0 == point).all(1))[0] for point in got.points0]
    assert 10 < len(rows) < 40
    for name in ("labels0", "flow", "valid", "category"):
        np.testing.assert_array_equal(getattr(got, name), getattr(sample, name)[rows])
    rows1 = [np.flatnonzero((sample.points1 == point).all(1))[0] for point in got.points1]
    assert rows1 != rows  # each sweep loses its own
    np.testing.assert_array_equal(got.labels1, sample.labels1[rows1])


def test_all_changes_together_leave_each_label_on_its_point() -> None:
    """Dropped, turned, mirrored, scaled, lifted and reversed: rows are found again by undoing the change."""
    augment = AugmentParameters(flip=0.5, rotation=180.0, scale=0.2, height=1.0, reverse=1.0, drop=0.4, jitter=0.0)
    sample, undone = moving_sample(), 0
    for seed in range(5):
        change = draw(augment, np.random.default_rng(seed))
        got = changed(sample, augment, np.random.default_rng(seed))
        for points, labels, before, labels_before in (
            (got.points0, got.labels0, sample.points1, sample.labels1),
            (got.points1, got.labels1, sample.points0, sample.labels0),
        ):
            distance = np.linalg.norm(points[:, None] - change.points(before)[None], axis=2)
            rows = distance.argmin(axis=1)
            assert distance.min(axis=1).max() < 1e-5
            np.testing.assert_array_equal(labels, labels_before[rows])
            undone += len(rows)
    assert undone > 200


@pytest.mark.parametrize(
    ("name", "value", "matrix"),
    [
        ("rotation", 90.0, lambda m: np.allclose(m @ m.T, np.eye(3), atol=1e-6) and np.linalg.det(m) > 0),
        ("scale", 0.2, lambda m: np.allclose(m, m[0, 0] * np.eye(3)) and 0.8 <= m[0, 0] <= 1.2),
        ("flip", 1.0, lambda m: np.allclose(m, np.diag([-1, -1, 1]))),
        ("height", 1.0, lambda m: np.allclose(m, np.eye(3))),
    ],
)
def test_each_change_alone(name: str, value: float, matrix: Callable[[NDArray[np.float32]], bool]) -> None:
    got = draw(replace(NO_CHANGE, **{name: value}), np.random.default_rng(4))
    assert matrix(got.linear)
    assert (got.shift[2] != 0) == (name == "height") and not got.shift[:2].any()
    assert name == "height" or not np.allclose(got.linear, np.eye(3))


def test_same_key_same_sample(data: Path) -> None:
    dataset = PairDataset(logs(data, "clusters"), [(0, 0), (1, 1)], GRID, seed=1)
    dataset.augment = AugmentParameters(0.5, 45.0, 0.1, 0.5, 0.5, 0.3, 0.01)
    once, again, later = dataset[(0, 1)], dataset[(0, 1)], dataset[(1, 1)]
    np.testing.assert_array_equal(once.points0, again.points0)
    assert once.points0.shape != later.points0.shape or not np.allclose(once.points0, later.points0)


def test_batch_of_unlike_samples_is_refused() -> None:
    labelled = Sample(
        np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32), np.zeros(1, np.int16), np.zeros(1, np.int16)
    )
    with pytest.raises(ValueError, match="labels0"):
        collate([labelled, replace(labelled, labels0=None)], 0)


def test_a_mask_of_another_length_is_refused() -> None:
    points = np.zeros((3, 3), np.float32)
    with pytest.raises(IndexError, match="a mask of 2 for 3 rows"):
        Sample(points, points).keep(np.ones(2, bool), np.ones(3, bool))


def test_no_pair_is_one_sentence(tmp_path: Path) -> None:
    write_log(tmp_path, "train", "single", frames=1)
    with pytest.raises(InputError, match="no pair of sweeps"):
        PairData(logs(tmp_path, "clusters"), GRID, 0, 1, 0.0, 1, None, 0)


def test_no_logs_is_one_sentence() -> None:
    with pytest.raises(InputError, match="no pair of sweeps"):
        PairData([], GRID, 0, 1, 0.0, 1, None, 0)


def test_log_without_truth_is_left_out_only_beside_one_that_has_some(data: Path) -> None:
    (data / "truth/train/log0.h5").unlink()
    assert [log.frames.log_id for log in logs(data, "truth")] == ["log1"]
    (data / "truth/train/log1.h5").unlink()
    with pytest.raises(InputError, match="log0 has no truth"):
        logs(data, "truth")


def test_log_without_clusters_is_named(data: Path) -> None:
    (data / "clusters/train/log1.h5").unlink()
    with pytest.raises(InputError, match="log1 has no clusters"):
        logs(data, "clusters")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_infinities_and_nan_are_the_only_numbers_that_are_not_finite(dtype: type) -> None:
    """The greatest half and the least, subnormal ones too, are numbers."""
    sound = np.array([[65504, -65504, 2**-24], [0, -0.0, 1]], dtype=dtype)
    assert _all_finite(sound)
    for value in (np.inf, -np.inf, np.nan, -np.nan):
        for place in np.ndindex(sound.shape):
            points = sound.copy()
            points[place] = value
            assert not _all_finite(points)


def with_nan(log: TrainLog) -> TrainLog:
    columns = dict(log.frames.columns)
    columns["xyz"] = np.array(columns["xyz"])
    columns["xyz"][5] = np.nan
    return replace(log, frames=replace(log.frames, columns=columns))


def test_point_that_is_not_finite_is_named(data: Path) -> None:
    with pytest.raises(InputError, match="log log0: sweep 0"):
        with_nan(logs(data, "clusters")[0]).sample(0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_in_the_data_is_the_same_sentence_from_a_worker(data: Path, workers: int) -> None:
    broken = with_nan(logs(data, "clusters")[0])
    with pytest.raises(InputError) as read_here:
        broken.sample(0)
    pairs = PairData([broken], GRID, 7, 3, 0.0, 1, None, workers)
    (batch,) = pairs.train_dataloader()
    with pytest.raises(InputError) as read_there:
        pairs.transfer_batch_to_device(batch, torch.device("cpu"), 0)
    assert str(read_there.value) == str(read_here.value)


def test_a_training_on_the_cpu_leaves_a_gpu_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locking pages would open a context there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    cpu, gpu = (PairData(logs(data, "clusters"), GRID, 7, 2, 0.0, 1, None, 0, device) for device in ("cpu", "cuda"))
    assert not cpu.train_dataloader().pin_memory
    assert gpu.train_dataloader().pin_memory


def test_the_last_step_of_an_epoch_may_have_fewer_pairs(data: Path) -> None:
    pairs = PairData(logs(data, "clusters"), GRID, 7, 2, 0.0, 1, None, 0)  # six, two at a time
    assert [pairs.pairs_of_step(part, 2) for part in range(3)] == [4, 4, 2]
    assert [pairs.pairs_of_step(part, 4) for part in range(3)] == [6, 6, 6]


def test_teacher_flow_is_taken_as_it_is(data: Path) -> None:
    frames = logs(data, "clusters")[0].frames
    residual = np.random.default_rng(0).normal(size=(frames.num_points, 3)).astype(np.float32)
    covered = np.arange(frames.num_points) % 3 > 0
    for log in ("log0", "log1"):
        digest = next(item.frames.digest for item in logs(data, "clusters") if item.frames.log_id == log)
        columns = {"residual": residual, "covered": covered, "has_flow": np.array([True, False, True, False])}
        write_columns(
            data / f"teacher/train/{log}.h5", "predictions/1", columns, {"log_id": log, "frames_digest": digest}
        )
    log = logs(data, "teacher")[0]
    assert log.pairs().tolist() == [0, 2]
    rows = np.flatnonzero(~log.ground[frames.span(0)])
    sample = log.sample(0)
    np.testing.assert_array_equal(sample.flow, residual[rows])
    np.testing.assert_array_equal(sample.valid, covered[rows])


def test_jitter_is_noise_of_its_size_and_leaves_flow_and_labels(data: Path) -> None:
    sample = moving_sample()
    big = Sample(*(np.zeros((20_000, 3), np.float32) for _ in range(2)))
    noise = changed(big, replace(NO_CHANGE, jitter=0.01), np.random.default_rng(0))
    assert np.std(noise.points0, axis=0) == pytest.approx(np.full(3, 0.01), rel=0.03)
    assert np.abs(noise.points0).max() <= 0.05 + 1e-7
    assert not np.allclose(noise.points0, noise.points1)
    got = changed(sample, replace(NO_CHANGE, jitter=0.01), np.random.default_rng(0))
    assert 0 < np.abs(got.points0 - sample.points0).max() <= 0.05 + 1e-6
    for name in ("labels0", "labels1", "flow", "valid", "category"):
        np.testing.assert_array_equal(getattr(got, name), getattr(sample, name))


def three(data: Path) -> TrainLog:
    return replace(logs(data, "clusters")[0], sweeps=3)


def test_the_sweep_before_lies_in_the_same_frame_with_its_labels(data: Path) -> None:
    log = three(data)
    assert log.pairs().tolist() == [1, 2]  # the first pair has no sweep before
    sample = log.sample(1)
    static, static_before = sample.points1[sample.labels1 == 0], sample.before[sample.labels_before == 0]
    np.testing.assert_allclose(static_before, static, atol=0.02)  # float16 storage
    box = [points[labels == 2].mean(0) for points, labels in ((sample.before, sample.labels_before),
           (sample.points0, sample.labels0), (sample.points1, sample.labels1))]  # fmt: skip
    np.testing.assert_allclose([box[1] - box[0], box[2] - box[1]], [[0.8, 0, 0]] * 2, atol=0.5)
    assert box[0][0] < box[1][0] < box[2][0]


def test_time_reversal_of_three_sweeps_swaps_the_outer_ones(data: Path) -> None:
    sample = three(data).sample(1)
    got = changed(sample, replace(NO_CHANGE, reverse=1.0), np.random.default_rng(0))
    for name, source in (("points0", "points0"), ("points1", "before"), ("before", "points1")):
        np.testing.assert_array_equal(getattr(got, name), getattr(sample, source))
    for name, source in (("labels0", "labels0"), ("labels1", "labels_before"), ("labels_before", "labels1")):
        np.testing.assert_array_equal(getattr(got, name), getattr(sample, source))


def test_three_sweeps_are_cut_changed_and_joined_alike(data: Path) -> None:
    small = Grid((-8.0, -8.0, -1.0), (8.0, 8.0, 4.0), 1.0)
    dataset = PairDataset([three(data)], [(0, 1), (0, 2)], small, 0)
    dataset.augment = AugmentParameters(0.5, 45.0, 0.1, 0.5, 0.5, 0.3, 0.01)
    samples = [dataset[(0, number)] for number in range(2)]
    for sample in samples:
        assert len(sample.before) == len(sample.labels_before) and (np.abs(sample.before[:, :2]) < 8).all()
    batch = collate(samples, 0)
    assert batch.before.offsets.tolist() == [0, len(samples[0].before), sum(len(s.before) for s in samples)]
    wanted = np.flatnonzero(np.concatenate([s.labels_before for s in samples]) > 0)
    np.testing.assert_array_equal(batch.target.backward.before.index, wanted)
