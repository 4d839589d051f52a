# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Losses against published numbers, against a direct reading of the definitions, and on odd input."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.clouds import Clouds, concatenate
from models.losses.labels import cluster_labels
from models.losses.seflow import seflow_loss, seflow_pp_loss
from models.losses.supervised import deflow_loss, ff3d_loss, zeroflow_loss
from models.losses.truth import Truth
from tests.models.golden import h

CAP, MINIMUM = 2.0, 256


def exact_sample(b: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points of both sweeps, predicted flow and labels (the same for both sweeps)."""
    background = np.stack([60 * h(1500, 1 + b) - 30, 60 * h(1500, 2 + b) - 30, 2 * h(1500, 3 + b) - 1], axis=1)
    objects = [
        np.stack(
            [4 * h(200, 10 + c + b) + 5 + 9 * c, 2 * h(200, 20 + c + b) - 3 + 5 * c, 1.5 * h(200, 30 + c + b)], axis=1
        )
        for c in (0, 1)
    ]
    p0 = np.concatenate([background, *objects])
    labels = np.repeat([0, 2, 3], [1500, 200, 200]).astype(np.int16)
    jitter = 0.02 * np.stack([h(1900, s + b) - 0.5 for s in (40, 41, 42)], axis=1)
    p1 = p0 + jitter + np.where(labels[:, None] > 0, [0.8, 0.1, 0.0], 0.0)
    flow = 0.1 * np.stack([h(1900, s + b) - 0.5 for s in (50, 51, 52)], axis=1)
    return p0, p1, flow, labels


def ssl_sample(b: int) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
    """The sample in float32."""
    *points, labels = exact_sample(b)
    as_tensor = [torch.from_numpy(a.astype(np.float32)) for a in points]
    return as_tensor[0], as_tensor[1], as_tensor[2], labels


def seflow(samples: list[tuple[Tensor, Tensor, Tensor, np.ndarray]], minimum: int = MINIMUM) -> dict[str, float]:
    cloud0, cloud1 = (concatenate([sample[i] for sample in samples]) for i in (0, 1))
    labels = cluster_labels([s[3] for s in samples], [s[3] for s in samples], minimum)
    terms = seflow_loss(torch.cat([s[2] for s in samples]), cloud0, cloud1, labels, CAP)
    return {name: float(term) for name, term in terms.items()}


@pytest.mark.golden
def test_sample_of_published_numbers() -> None:
    p0, _, flow, _ = ssl_sample(0)
    np.testing.assert_allclose(p0[0], [0.078219, -29.849579, 0.007621], atol=1e-6)
    np.testing.assert_allclose(p0[1500], [5.050140, -2.949860, 0.056408], atol=1e-6)
    np.testing.assert_allclose(flow[0], [-0.043732, 0.006398, -0.043482], atol=1e-6)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("samples", "sums"),
    [([0], (0.050969, 0.226989, 0.047859, 0.817048)), ([0, 1], (0.101602, 0.448084, 0.095750, 1.632308))],
)
def test_seflow_equals_published_numbers(samples: list[int], sums: tuple[float, ...]) -> None:
    terms = seflow([ssl_sample(b) for b in samples])
    wanted = dict(zip(("chamfer", "dynamic", "static", "cluster"), (s / len(samples) for s in sums), strict=True))
    assert terms == pytest.approx(wanted, abs=1e-5)


def sample_before(b: int) -> Tensor:
    """The sweep before the sample's, by the published formula."""
    p0, p1, _, labels = exact_sample(b)
    motion = np.where(labels[:, None] > 0, [0.8, 0.1, 0.0], 0.0)
    jitter = p1 - p0 - motion
    return torch.from_numpy((p0 + jitter[::-1] - motion).astype(np.float32))


def seflow_pp(samples: list[int]) -> dict[str, float]:
    parts = [ssl_sample(b) for b in samples]
    cloud0, cloud1 = (concatenate([part[i] for part in parts]) for i in (0, 1))
    labels = [part[3] for part in parts]
    prepared = cluster_labels(labels, labels, MINIMUM, labels)
    before = concatenate([sample_before(b) for b in samples])
    terms = seflow_pp_loss(torch.cat([part[2] for part in parts]), cloud0, cloud1, before, prepared, CAP)
    return {name: float(term) for name, term in terms.items()}


@pytest.mark.golden
@pytest.mark.parametrize(
    ("samples", "sums"),
    [([0], (0.050750, 0.226208, 0.047859, 0.817048)), ([0, 1], (0.099858, 0.446084, 0.095750, 1.632308))],
)
def test_seflow_pp_equals_published_numbers(samples: list[int], sums: tuple[float, ...]) -> None:
    wanted = dict(zip(("chamfer", "dynamic", "static", "cluster"), (s / len(samples) for s in sums), strict=True))
    assert seflow_pp(samples) == pytest.approx(wanted, abs=1e-5)


def test_seflow_pp_by_hand() -> None:
    """One point that came 1 m from the sweep before and goes 2 m to the next, with flow 1 m."""
    before, p0, p1 = (concatenate([torch.tensor([[x, 0.0, 0.0]])]) for x in (-1.0, 0.0, 2.0))
    label = [np.array([2], np.int16)]
    flow = torch.tensor([[1.0, 0.0, 0.0]])
    terms = seflow_pp_loss(flow, p0, p1, before, cluster_labels(label, label, 0, label), 3.0)
    # Next sweep: 1 m off, each way 1 m². Sweep before: met exactly.
    assert {name: float(value) for name, value in terms.items()} == pytest.approx(
        {"chamfer": 1.0, "dynamic": 1.0, "static": 0.0, "cluster": 1.0}
    )


def test_seflow_pp_leaves_out_the_dynamic_term_of_a_sweep_before_with_too_few() -> None:
    label, few = [np.array([2, 2], np.int16)], [np.array([2, 0], np.int16)]
    cloud = concatenate([torch.tensor([[0.0, 0, 0], [5, 0, 0]])])
    prepared = cluster_labels(label, label, 1, few)
    assert prepared.backward is not None and len(prepared.backward.before.index) == 0 and prepared.skipped == 0
    terms = seflow_pp_loss(torch.ones(2, 3), cloud, cloud, cloud, prepared, 3.0)
    assert float(terms["dynamic"]) == pytest.approx(3.0)  # (3 + 3) m² forward, 0 backward, and their mean
    too_few_forward = cluster_labels(few, label, 1, label)
    assert too_few_forward.backward is not None and len(too_few_forward.backward.before.index) == 0


def test_seflow_pp_of_two_sweeps_is_refused() -> None:
    label, cloud = [np.array([2], np.int16)], concatenate([torch.zeros(1, 3)])
    with pytest.raises(ValueError, match="labels of three sweeps"):
        seflow_pp_loss(torch.zeros(1, 3), cloud, cloud, cloud, cluster_labels(label, label, 0), CAP)


def supervised_sample() -> tuple[Tensor, Clouds, Truth]:
    n = 600
    g = np.zeros((n, 3))
    g[:, 0] = 3 * (h(n, 60) - 0.5) * (h(n, 61) > 0.7)
    g[:, 1] = 0.3 * (h(n, 62) - 0.5) * (h(n, 61) > 0.4)
    g = g.astype(np.float32)
    flow = g + 0.1 * np.stack([h(n, s) - 0.5 for s in (63, 64, 65)], axis=1)
    category = (7 * np.arange(n) % 31).astype(np.uint8)
    truth = Truth(torch.from_numpy(g), torch.ones(n, dtype=torch.bool), torch.from_numpy(category))
    return torch.from_numpy(flow.astype(np.float32)), concatenate([torch.zeros(n, 3)]), truth


@pytest.mark.golden
@pytest.mark.parametrize(
    ("loss", "wanted"), [(deflow_loss, 0.146594), (ff3d_loss, 0.046087), (zeroflow_loss, 0.022960)]
)
def test_supervised_equal_published_numbers(loss, wanted: float) -> None:
    flow, cloud, truth = supervised_sample()
    assert float(sum(loss(flow, cloud, truth).values())) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("loss", [deflow_loss, ff3d_loss, zeroflow_loss])
def test_supervised_ignores_invalid_truth_and_averages_samples(loss) -> None:
    flow, cloud, truth = supervised_sample()
    alone = sum(loss(flow, cloud, truth).values())
    wild = Truth(
        torch.cat([truth.flow, truth.flow + 50]),
        torch.cat([truth.valid, torch.zeros(600, dtype=torch.bool)]),
        truth.category.repeat(2),
    )
    # One cloud of both: the invalid half changes nothing. As a second sample it counts as 0 in the mean.
    one = sum(loss(flow.repeat(2, 1), concatenate([torch.zeros(1200, 3)]), wild).values())
    two = sum(loss(flow.repeat(2, 1), concatenate([cloud.points, cloud.points]), wild).values())
    torch.testing.assert_close(one, alone)
    torch.testing.assert_close(two, alone / 2)


def direct_cluster_term(p0: np.ndarray, p1: np.ndarray, flow: np.ndarray, l0: np.ndarray, l1: np.ndarray) -> float:
    """The definition, cluster by cluster, with every distance measured."""
    distance = ((p0[:, None] - p1[None]) ** 2).sum(-1)
    nearest, least = distance.argmin(1), distance.min(1)
    collected = []
    for cluster in np.unique(l0[l0 > 1]):
        rows = np.flatnonzero(l0 == cluster)
        for row in rows[np.argsort(-least[rows], kind="stable")]:
            if l1[nearest[row]] > 0:
                target = p1[nearest[row]] - p0[row]
                collected.append(np.linalg.norm(flow[rows] - target, axis=1))
                break
    return float(np.concatenate(collected).mean()) if collected else 0.0


def random_sample(seed: int) -> tuple[Tensor, Tensor, Tensor, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    p0, p1 = (torch.from_numpy(random.uniform(0, 6, (150 + i, 3)).astype(np.float32)) for i in (0, 9))
    flow = torch.from_numpy(random.normal(0, 0.3, (150, 3)).astype(np.float32))
    return p0, p1, flow, random.integers(0, 6, 150).astype(np.int16), (random.random(159) < 0.4).astype(np.int16)


def test_cluster_term_equals_its_definition() -> None:
    samples = [random_sample(seed) for seed in range(3)]
    cloud0, cloud1 = (concatenate([s[i] for s in samples]) for i in (0, 1))
    labels = cluster_labels([s[3] for s in samples], [s[4] for s in samples], 5)
    terms = seflow_loss(torch.cat([s[2] for s in samples]), cloud0, cloud1, labels, CAP)
    wanted = np.mean([direct_cluster_term(*(np.asarray(x) for x in s)) for s in samples])
    assert float(terms["cluster"]) == pytest.approx(wanted, abs=1e-5)


def test_cluster_whose_neighbours_are_static_does_not_count() -> None:
    p0 = torch.tensor([[0.0, 0, 0], [1, 0, 0], [10, 0, 0], [11, 0, 0]])
    p1 = torch.tensor([[0.0, 0.5, 0], [1, 0.6, 0], [10, 0.5, 0], [11, 0.5, 0]])
    labels = cluster_labels([np.array([2, 2, 3, 3], np.int16)], [np.array([2, 2, 0, 0], np.int16)], 1)
    terms = seflow_loss(torch.zeros(4, 3), concatenate([p0]), concatenate([p1]), labels, CAP)
    assert float(terms["cluster"]) == pytest.approx(0.6)  # the farther of the two neighbours of cluster 2


def test_dynamic_without_cluster_is_not_static_and_takes_the_chamfer_terms() -> None:
    p0 = torch.tensor([[0.0, 0, 0], [5, 0, 0], [5, 1, 0]])
    flow = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 0, 0]], requires_grad=True)
    labels = cluster_labels([np.array([0, 1, 1], np.int16)] * 1, [np.array([0, 1, 1], np.int16)], 1)
    terms = seflow_loss(flow, concatenate([p0]), concatenate([p0]), labels, CAP)
    assert float(terms["static"]) == 0
    assert float(terms["dynamic"]) == pytest.approx(2.0)  # 1 m² each way
    assert float(terms["cluster"]) == 0


@pytest.mark.parametrize("case", ["no points", "no dynamic", "too few dynamic", "empty second sweep"])
def test_empty_sets_give_zero_and_no_gradient(case: str) -> None:
    p0, p1, flow, labels = ssl_sample(0)
    labels1 = labels
    if case == "no points":
        p0, p1, flow, labels = p0[:0], p1[:0], flow[:0], labels[:0]
        labels1 = labels
    if case == "no dynamic":
        labels = labels1 = np.zeros_like(labels)
    if case == "empty second sweep":
        p1, labels1 = p1[:0], labels[:0]
    flow = flow.clone().requires_grad_()
    prepared = cluster_labels([labels], [labels1], 400 if case == "too few dynamic" else MINIMUM)
    assert prepared.skipped == 1
    terms = seflow_loss(flow, concatenate([p0]), concatenate([p1]), prepared, CAP)
    assert float(terms["dynamic"]) == float(terms["cluster"]) == 0
    (terms["dynamic"] + terms["cluster"] + (terms["chamfer"] if not len(p1) else 0)).backward()
    assert flow.grad is None or not flow.grad.any()


def test_batch_is_the_mean_of_its_samples() -> None:
    samples = [ssl_sample(0), ssl_sample(1)]
    empty = (*(x[:0] for x in samples[0][:3]), samples[0][3][:0])
    alone = [seflow([sample]) for sample in samples]
    together = seflow([samples[0], empty, samples[1]])
    for name, value in together.items():
        assert value == pytest.approx((alone[0][name] + alone[1][name]) / 3, rel=1e-5), name


def test_gradient_by_finite_differences() -> None:
    samples = [random_sample(seed) for seed in range(2)]
    cloud0, cloud1 = (concatenate([s[i].double() for s in samples]) for i in (0, 1))
    labels = cluster_labels([s[3] for s in samples], [s[4] for s in samples], 5)
    flow = torch.cat([s[2] for s in samples]).double().requires_grad_()

    def total(f: Tensor) -> Tensor:
        return torch.stack(list(seflow_loss(f, cloud0, cloud1, labels, CAP).values()))

    assert torch.autograd.gradcheck(total, flow, eps=1e-7, atol=1e-5, rtol=1e-4, fast_mode=True)


def test_gradient_of_seflow_pp_by_finite_differences() -> None:
    samples = [random_sample(seed) for seed in range(2)]
    cloud0, cloud1 = (concatenate([s[i].double() for s in samples]) for i in (0, 1))
    labels = [[s[i] for s in samples] for i in (3, 4)]
    prepared = cluster_labels(labels[0], labels[1], 5, labels[1])
    before = concatenate([s[1].double() - 0.1 for s in samples])
    flow = torch.cat([s[2] for s in samples]).double().requires_grad_()

    def total(f: Tensor) -> Tensor:
        return torch.stack(list(seflow_pp_loss(f, cloud0, cloud1, before, prepared, CAP).values()))

    assert torch.autograd.gradcheck(total, flow, eps=1e-7, atol=1e-5, rtol=1e-4, fast_mode=True)


def test_static_flow_of_zero_has_a_finite_gradient() -> None:
    p0, p1, _, labels = ssl_sample(0)
    flow = torch.zeros_like(p0, requires_grad=True)
    prepared = cluster_labels([labels], [labels], MINIMUM)
    sum(seflow_loss(flow, concatenate([p0]), concatenate([p1]), prepared, CAP).values()).backward()
    assert flow.grad.isfinite().all()
