# SPDX-License-Identifier: Apache-2.0
"""The stages that train the rivals: MNS, DynMM, AdaMML."""
