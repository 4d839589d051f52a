# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets of any kind behind one interface: what an adapter gives, and the catalog of its files."""
