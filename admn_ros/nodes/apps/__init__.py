# SPDX-License-Identifier: Apache-2.0
"""Applications beside the nodes: replay, simulator, dashboard, demo."""
