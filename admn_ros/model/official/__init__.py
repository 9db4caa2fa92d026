# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the official ADMN release and of other ViTs: import, and the network that they belong to."""
