# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What every stage shares: parameters, the log-at-a-time store, the worker pool, the entry point."""
