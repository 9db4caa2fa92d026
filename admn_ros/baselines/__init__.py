# SPDX-License-Identifier: Apache-2.0
"""Baselines for the controller: static allocations, network selection (MNS), DynMM, an AdaMML-style policy."""
