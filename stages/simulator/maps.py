# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The map folder of a log: ground-height raster with its Sim(2), and the vector map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.geometry import inverse_SE3, transform_points
from stages.simulator.world import Road, World

CELL = 0.3  # m
MARGIN = 110.0  # m that the raster reaches beyond the ego car's way
MAPPED = 22.0  # m behind a kerb up to which the ground is mapped; NaN beyond
LANE_HALF_WIDTH = 1.6  # m
PIECE = 30.0  # m of road in one drivable area


def write_map(folder: Path, log_id: str, world: World, way: NDArray[np.float64]) -> None:
    """Write the map folder.

    Args:
        folder: to create.
        log_id: of the log.
        world: streets and ground.
        way: local x, y (K, 2) of the ego car, m.
    """
    folder.mkdir(parents=True)
    city_way = transform_points(world.city_SE3_local, np.c_[way, np.zeros(len(way))])[:, :2]
    low = np.floor((city_way.min(axis=0) - MARGIN) / CELL) * CELL
    cells = np.ceil((city_way.max(axis=0) + MARGIN - low) / CELL).astype(int)
    np.save(folder / f"{log_id}_ground_height_surface____{world.city}.npy", _heights(world, low, cells))
    scale = 1.0 / CELL
    sim2 = {"R": [1.0, 0.0, 0.0, 1.0], "t": [float(-low[0]), float(-low[1])], "s": scale}
    (folder / f"{log_id}___img_Sim2_city.json").write_text(json.dumps(sim2))
    name = f"log_map_archive_{log_id}____{world.city}_city_{10000 + int(log_id[:4], 16) % 90000}.json"
    (folder / name).write_text(json.dumps(_vector_map(world, way)))


def _heights(world: World, low: NDArray[np.float64], cells: NDArray[np.int_]) -> NDArray[np.float16]:
    """City heights at the middles of the cells, (H, W)."""
    x, y = np.meshgrid(low[0] + (np.arange(cells[0]) + 0.5) * CELL, low[1] + (np.arange(cells[1]) + 0.5) * CELL)
    local_SE2_city = inverse_SE3(world.city_SE3_local)
    r, t = local_SE2_city[:2, :2], local_SE2_city[:2, 3]
    u = (r[0, 0] * x + r[0, 1] * y + t[0]).astype(np.float32)
    v = (r[1, 0] * x + r[1, 1] * y + t[1]).astype(np.float32)
    height = world.ground.height(u, v) + np.float32(world.city_SE3_local[2, 3])
    height[world.ground.kerb_distance(u, v) > MAPPED] = np.nan
    return np.asarray(height, dtype=np.float16)


def _vector_map(world: World, way: NDArray[np.float64]) -> dict[str, Any]:
    begin, end = float(way[:, 0].min()) - 80.0, float(way[:, 0].max()) + 80.0
    areas: dict[str, Any] = {}
    lanes: dict[str, Any] = {}
    crosswalks: dict[str, Any] = {}
    for road in world.ground.roads:
        span = (begin, end) if road is world.main else (-60.0, 60.0)
        if road is not world.main and not begin < road.point[0] < end:
            continue
        for low in np.arange(*span, PIECE):
            high = min(float(low) + PIECE, span[1])
            corners = [
                (low, -road.half_width),
                (high, -road.half_width),
                (high, road.half_width),
                (low, road.half_width),
            ]
            number = 1000 + len(areas)
            areas[str(number)] = {"area_boundary": _line(world, road, corners), "id": number}
        for offset, forth in [(s * lane, s < 0) for lane in road.lanes for s in (-1, 1)]:
            number = 2000 + len(lanes)
            lanes[str(number)] = _lane(world, road, span, offset, forth, number)
    for road in world.crossings:
        for aside in (-8.0, 8.0):
            if begin < road.point[0] + aside < end:
                number = 3000 + len(crosswalks)
                crosswalks[str(number)] = _crosswalk(world, road.point[0] + aside, number)
    return {"pedestrian_crossings": crosswalks, "lane_segments": lanes, "drivable_areas": areas}


def _line(world: World, road: Road, places: list[tuple[float, float]]) -> list[dict[str, float]]:
    """City points of places along and to the left of a road, rounded to centimetres as Argoverse 2 has them."""
    xy = np.array([road.at(*place) for place in places])
    z = world.ground.base(xy[:, 0], xy[:, 1])
    city = transform_points(world.city_SE3_local, np.c_[xy, z])
    return [{"x": round(float(x), 2), "y": round(float(y), 2), "z": round(float(h), 2)} for x, y, h in city]


def _lane(
    world: World, road: Road, span: tuple[float, float], offset: float, forth: bool, number: int
) -> dict[str, Any]:
    along = list(np.linspace(*span, 8))
    along = along if forth else along[::-1]
    left = LANE_HALF_WIDTH if forth else -LANE_HALF_WIDTH
    return {
        "id": number,
        "is_intersection": False,
        "lane_type": "VEHICLE",
        "left_lane_boundary": _line(world, road, [(a, offset + left) for a in along]),
        "left_lane_mark_type": "DASHED_WHITE",
        "right_lane_boundary": _line(world, road, [(a, offset - left) for a in along]),
        "right_lane_mark_type": "SOLID_WHITE",
        "successors": [],
        "predecessors": [],
        "right_neighbor_id": None,
        "left_neighbor_id": None,
    }


def _crosswalk(world: World, at: float, number: int) -> dict[str, Any]:
    half = world.main.half_width
    edges = [_line(world, world.main, [(at + d, -half), (at + d, half)]) for d in (-1.5, 1.5)]
    return {"edge1": edges[0], "edge2": edges[1], "id": number}
