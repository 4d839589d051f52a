# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Networks against the numbers of the published code, and their behaviour on ragged and odd input."""

import pytest
import torch
from torch.nn import functional as F

from models.clouds import concatenate
from models.deflow import DeFlow
from models.deflowpp import DeFlowPP
from models.fastflow3d import FastFlow3D
from models.grid import Grid
from models.network import FIRST_FLOW, in_pieces
from models.unet import double
from tests.models.golden import PUBLISHED, cropped, fill_weights, sweep_before, sweeps

TOLERANCE = 1e-4  # m: float32 sums in another order
GOLDEN = {
    "deflow4": (
        lambda: DeFlow(PUBLISHED, iterations=4),
        (-0.261681, 0.273631, -0.000196),
        (0.710144, 0.572432, 0.471898),
        1917.213,
        (0.050339, 0.364433, -0.147000),
    ),
    "deflow2": (
        lambda: DeFlow(PUBLISHED, iterations=2),
        (-0.419958, 0.295160, -0.062617),
        (0.920752, 0.572524, 0.614112),
        2379.549,
        (0.044448, 0.420953, -0.075310),
    ),
    "fastflow3d": (
        lambda: FastFlow3D(PUBLISHED),
        (0.080362, -0.173023, -0.526410),
        (0.912480, 0.762689, 0.635141),
        2985.647,
        (-0.035102, 1.270210, -1.155100),
    ),
    "deflowpp": (
        lambda: DeFlowPP(PUBLISHED, iterations=2),
        (-0.226569, 0.024939, 0.303346),
        (0.291224, 0.316127, 0.461608),
        1311.136,
        (-0.165896, 0.069236, 0.226399),
    ),
}


@pytest.mark.golden
@pytest.mark.parametrize("name", list(GOLDEN))
def test_flow_equals_published_code(name: str) -> None:
    make, mean, std, total, first = GOLDEN[name]
    network = fill_weights(make())
    points0, points1 = sweeps()
    cloud0, inside0 = cropped(points0)
    cloud1, inside1 = cropped(points1)
    assert (len(cloud0.points), len(cloud1.points)) == (1472, 1416)
    assert inside0.nonzero()[:4, 0].tolist() == [8, 9, 10, 11]
    with torch.no_grad():
        flow = network(cloud0, cloud1, *([cropped(sweep_before())[0]] if network.sweeps == 3 else []))
    torch.testing.assert_close(flow.mean(0), torch.tensor(mean), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(flow.std(0), torch.tensor(std), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(flow[0], torch.tensor(first), atol=TOLERANCE, rtol=0)
    assert float(flow.abs().sum()) == pytest.approx(total, abs=1e-2)


@pytest.mark.golden
def test_pillars_equal_published_code() -> None:
    network = fill_weights(DeFlow(PUBLISHED))
    cloud1, _ = cropped(sweeps()[1])
    cells = PUBLISHED.cells(cloud1.points)
    assert divmod(int(cells.index[0]), PUBLISHED.columns) == (40, 3)
    torch.testing.assert_close(cells.offset[0], torch.tensor([-0.09999, -0.09458, 2.08427]), atol=1e-5, rtol=0)
    with torch.no_grad():
        image = network.embedder(cloud1.points, cells, cloud1.sample, 1)
    assert image.shape == (1, 32, 512, 512)
    assert int(image.abs().sum(1).count_nonzero()) == 671
    assert float(image.double().sum()) == pytest.approx(112055.979, abs=0.05)


def test_parameter_counts() -> None:
    def count(network: torch.nn.Module) -> tuple[int, int, int, int]:
        parameters, buffers = list(network.parameters()), list(network.buffers())
        return (
            sum(p.numel() for p in parameters),
            sum(b.numel() for b in buffers),
            len(network.state_dict()),
            len(parameters),
        )

    assert count(DeFlow(PUBLISHED)) == (6_891_939, 5_201, 156, 105)
    assert count(FastFlow3D(PUBLISHED)) == (6_820_131, 5_201, 150, 99)
    assert count(DeFlowPP(PUBLISHED)) == (10_264_771, 5_201, 156, 105)
    assert sum(p.numel() for p in DeFlow(PUBLISHED).backbone.parameters()) == 6_810_944


def test_state_names() -> None:
    state = DeFlow(PUBLISHED).state_dict()
    shapes = {
        "embedder.feature_net.pfn_layers.0.0.weight": (32, 9),
        "embedder.feature_net.pfn_layers.0.1.running_var": (32,),
        "backbone.encoder_step_1.3.conv.weight": (64, 64, 3, 3),
        "backbone.encoder_step_3.5.batchnorm.num_batches_tracked": (),
        "backbone.decoder_step1.u1_u2.0.weight": (256, 512, 1, 1),
        "backbone.decoder_step2.u3.bias": (128,),
        "backbone.decoder_step3.u4_u5.0.weight": (64, 128, 3, 3),
        "backbone.decoder_step4.weight": (64, 64, 3, 3),
        "head.offset_encoder.weight": (64, 3),
        "head.gru.convq.weight": (128, 192, 1),
        "head.decoder.2.weight": (3, 32),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    linear = FastFlow3D(PUBLISHED).state_dict()
    assert tuple(linear["head.offset_encoder.weight"].shape) == (128, 3)
    assert tuple(linear["head.decoder.0.weight"].shape) == (32, 256)
    three = DeFlowPP(PUBLISHED).state_dict()
    assert tuple(three["head.offset_encoder.weight"].shape) == (96, 3)
    assert tuple(three["head.gru.convz.weight"].shape) == (192, 288, 1)
    assert tuple(three["head.decoder.0.weight"].shape) == (48, 288)
    assert tuple(three["backbone.decoder_step1.u4_u5.0.weight"].shape) == (384, 768, 3, 3)


SMALL = Grid((-8.0, -4.0, -2.0), (8.0, 4.0, 2.0), 0.5)  # 32 columns, 16 rows


def small_network(kind: type = DeFlow) -> torch.nn.Module:
    torch.manual_seed(0)
    return fill_weights(kind(SMALL, width=8))


def points(n: int, seed: int, grid: Grid = SMALL) -> torch.Tensor:
    unit = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed))
    low, high = torch.tensor(grid.minimum), torch.tensor(grid.maximum)
    return low + unit * (high - low) * 0.999


@pytest.mark.parametrize("kind", [DeFlow, FastFlow3D, DeFlowPP])
def test_ragged_batch_equals_single_clouds(kind: type) -> None:
    network = small_network(kind)
    three = network.sweeps == 3
    pairs = [
        (points(70, 1), points(50, 2)),
        (points(1, 3), points(90, 4)),
        (points(0, 5), points(30, 6)),
        (points(40, 7), points(0, 8)),
    ]
    with torch.no_grad():
        before = [points(20 + n, 9 + n) for n in range(len(pairs))]
        together = network(
            concatenate([a for a, _ in pairs]),
            concatenate([b for _, b in pairs]),
            *([concatenate(before)] if three else []),
        )
        alone = [
            network(concatenate([a]), concatenate([b]), *([concatenate([c])] if three else []))
            for (a, b), c in zip(pairs, before, strict=True)
        ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_non_square_grid_is_a_window_of_a_square_one() -> None:
    """Features of a pillar must not depend on the shape of the image around it."""
    square = Grid((-8.0, -8.0, -2.0), (8.0, 8.0, 2.0), 0.5)
    cloud = concatenate([points(300, 1)])
    wide, whole = small_network(), fill_weights(DeFlow(square, width=8))
    with torch.no_grad():
        a = wide.embedder(cloud.points, SMALL.cells(cloud.points), cloud.sample, 1)
        b = whole.embedder(cloud.points, square.cells(cloud.points), cloud.sample, 1)
    assert a.shape[-2:] == (16, 32)
    torch.testing.assert_close(a, b[:, :, 8:24])


@pytest.mark.parametrize(("kind", "sweeps"), [(DeFlow, 3), (DeFlowPP, 2)])
def test_another_number_of_sweeps_is_refused(kind: type, sweeps: int) -> None:
    with pytest.raises(ValueError, match=f"got {sweeps}"):
        small_network(kind)(*[concatenate([points(5, seed)]) for seed in range(sweeps)])


def test_transposed_world_gives_transposed_cells() -> None:
    tall = Grid((-4.0, -8.0, -2.0), (4.0, 8.0, 2.0), 0.5)
    cloud = points(100, 1)
    swapped = cloud[:, [1, 0, 2]]
    wide_row, wide_column = SMALL.cells(cloud).index // 32, SMALL.cells(cloud).index % 32
    tall_row, tall_column = tall.cells(swapped).index // 16, tall.cells(swapped).index % 16
    assert torch.equal(wide_row, tall_column) and torch.equal(wide_column, tall_row)


def test_range_is_half_open_and_drops_what_is_not_finite() -> None:
    cloud = torch.tensor(
        [
            [8.0, 0, 0],
            [-8.0, -4.0, -2.0],
            [7.99, 3.99, 1.99],
            [0, 4.0, 0],
            [0, 0, 2.0],
            [float("nan"), 0, 0],
            [float("inf"), 0, 0],
            [-float("inf"), 0, 0],
        ]
    )
    assert SMALL.inside(cloud).tolist() == [False, True, True, False, False, False, False, False]


def test_all_points_out_of_range() -> None:
    network = small_network()
    far = torch.full((5, 3), 100.0)
    cloud0, inside = cropped(far, grid=SMALL)
    with torch.no_grad():
        flow = network(cloud0, cropped(far, grid=SMALL)[0])
    assert flow.shape == (0, 3) and not inside.any()


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_empty_clouds_train_and_predict(mode: str) -> None:
    network = small_network().train(mode == "train")
    cloud = concatenate([points(0, 1), points(0, 2)])
    assert network(cloud, cloud).shape == (0, 3)


def test_points_outside_are_refused() -> None:
    cloud = concatenate([torch.tensor([[9.0, 0.0, 0.0]])])
    with pytest.raises(ValueError, match="outside"):
        small_network()(cloud, cloud)


def test_non_finite_points_are_refused() -> None:
    cloud = concatenate([torch.tensor([[float("nan"), 0.0, 0.0]])])
    with pytest.raises(ValueError, match="finite"):
        small_network()(cloud, cloud)


@pytest.mark.parametrize(
    ("minimum", "maximum", "voxel", "word"),
    [
        ((-8.0, -8.0, -2.0), (8.0, 8.0, 2.0), 0.6, "multiple of 8"),
        ((-8.0, -8.0, -2.0), (8.0, 8.0, -2.0), 0.5, "minimum < maximum"),
        ((-8.0, -8.0, -2.0), (8.0, 8.0, 2.0), 0.0, "voxel"),
    ],
)
def test_senseless_grids_are_refused(minimum: tuple, maximum: tuple, voxel: float, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Grid(minimum, maximum, voxel)


@pytest.mark.parametrize("kind", [DeFlow, FastFlow3D, DeFlowPP])
def test_gradients_by_finite_differences(kind: type) -> None:
    torch.manual_seed(0)
    grid = Grid((0.0, 0.0, -1.0), (16.0, 16.0, 1.0), 1.0)
    network = kind(grid, width=4).double().train()
    with torch.no_grad():
        network.head.decoder[-1].weight.div_(FIRST_FLOW)  # flow of ordinary size, so that gradients are too
    unit = torch.rand(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cloud0 = concatenate([unit[:20] * 15 * torch.tensor([1, 1, 0.05]), unit[20:25] * 15 * torch.tensor([1, 1, 0.05])])
    cloud1 = concatenate([unit[25:50] * 15 * torch.tensor([1, 1, 0.05]), unit[50:] * 15 * torch.tensor([1, 1, 0.05])])

    def loss() -> torch.Tensor:
        return network(cloud0, cloud1, *([cloud1] if network.sweeps == 3 else [])).pow(2).sum()

    loss().backward()
    step = 1e-6
    scale = max(float(parameter.grad.abs().max()) for parameter in network.parameters())
    still = []
    for name, parameter in network.named_parameters():
        flat, entry = parameter.data.view(-1), int(parameter.grad.abs().argmax())
        if parameter.grad.abs().max() < 1e-9 * scale:
            still.append(name)
        before = float(flat[entry])
        with torch.no_grad():
            flat[entry] = before + step
            above = float(loss())
            flat[entry] = before - step
            below = float(loss())
            flat[entry] = before
        wanted = (above - below) / (2 * step)
        given = float(parameter.grad.view(-1)[entry])
        assert given == pytest.approx(wanted, rel=1e-4, abs=1e-9 * scale), name
    assert all(name.endswith("conv.bias") for name in still), still  # a batch norm follows these biases


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 3), (8, 8)])
def test_doubling_by_shifted_sums_is_bilinear_upsampling(size: tuple[int, int]) -> None:
    """Values and gradients, and channels last in memory."""
    torch.manual_seed(0)
    image = torch.randn(2, 3, *size, dtype=torch.float64).to(memory_format=torch.channels_last)
    a, b = image.clone().requires_grad_(), image.clone().requires_grad_()
    ours, torchs = double(a), F.interpolate(b, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(ours, torchs)
    upstream = torch.randn_like(torchs)
    ours.backward(upstream)
    torchs.backward(upstream)
    torch.testing.assert_close(a.grad, b.grad)
    assert ours.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("points", [0, 5, 10, 23])
def test_a_head_in_pieces_is_the_whole_head(points: int) -> None:
    """Flow and gradients of points, features and weights; also of no point and of whole pieces."""
    head = small_network().double().head
    features, offset = (torch.randn(points, n, dtype=torch.float64, requires_grad=True) for n in (32, 3))
    results = []
    for flow in (head(features, offset), in_pieces(head, features, offset, 5)):
        wanted = [features, offset, *head.parameters()]
        results.append([flow, *torch.autograd.grad(flow.square().sum(), wanted)])
    for whole, pieces in zip(*results, strict=True):
        torch.testing.assert_close(pieces, whole)
