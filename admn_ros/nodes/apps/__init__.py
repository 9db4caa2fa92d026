# SPDX-License-Identifier: Apache-2.0
"""Applications: replay, simulator, dashboard, demo."""
