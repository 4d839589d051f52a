# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What must be settled before any test imports torch."""

import os

# Threads that wait by spinning starve each other where other work shares the cores: a training of seconds took minutes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
