# SPDX-License-Identifier: Apache-2.0
"""Time of a frame against layers: engines, the plain network, a static one, masked execution, and matrix products."""
