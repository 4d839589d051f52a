# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which classes the metrics speak of: foreground and background of v1, meta classes of v2."""

import numpy as np

from stages.labels.categories import CATEGORIES, CATEGORY_ID

# Rows of every v2 table, in the order in which reports name them.
META_CLASSES = ("background", "car", "other_vehicles", "pedestrian", "wheeled_vru")

_MEMBERS = {
    "car": ("REGULAR_VEHICLE",),
    "other_vehicles": (
        "BOX_TRUCK",
        "LARGE_VEHICLE",
        "RAILED_VEHICLE",
        "TRUCK",
        "TRUCK_CAB",
        "VEHICULAR_TRAILER",
        "ARTICULATED_BUS",
        "BUS",
        "SCHOOL_BUS",
    ),
    "pedestrian": ("PEDESTRIAN", "STROLLER", "WHEELCHAIR", "OFFICIAL_SIGNALER"),
    "wheeled_vru": (
        "BICYCLE",
        "BICYCLIST",
        "MOTORCYCLE",
        "MOTORCYCLIST",
        "WHEELED_DEVICE",
        "WHEELED_RIDER",
    ),
}

NUM_CATEGORIES = len(CATEGORIES) + 1  # and 0, background

# Meta class of each category; -1: animals, signs, cones and the like, which v2 does not score at all.
META_OF_CATEGORY = np.full(NUM_CATEGORIES, -1, dtype=np.int64)  # (31,)
META_OF_CATEGORY[0] = 0
for _meta, _names in _MEMBERS.items():
    META_OF_CATEGORY[[CATEGORY_ID[name] for name in _names]] = META_CLASSES.index(_meta)
META_OF_CATEGORY.setflags(write=False)
