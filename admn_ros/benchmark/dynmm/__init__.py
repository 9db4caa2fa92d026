# SPDX-License-Identifier: Apache-2.0
"""DynMM's own experiments on robot data: price on compute, training strategies, decisions of the gate."""
