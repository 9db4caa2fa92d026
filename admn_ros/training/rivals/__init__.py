# SPDX-License-Identifier: Apache-2.0
"""Training stages of the learned baselines: MNS, DynMM, AdaMML."""
