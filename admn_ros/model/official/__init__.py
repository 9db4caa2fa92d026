# SPDX-License-Identifier: Apache-2.0
"""Import of official ADMN checkpoints and of other ViTs, and the network of the official release."""
