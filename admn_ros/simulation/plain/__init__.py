# SPDX-License-Identifier: Apache-2.0
"""A plain ray-cast room, for machines without a renderer."""
