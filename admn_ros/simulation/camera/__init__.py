# SPDX-License-Identifier: Apache-2.0
"""RGB and depth cameras of the simulated room."""
