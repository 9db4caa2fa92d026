# SPDX-License-Identifier: Apache-2.0
"""Scores of estimates against ground truth, and their confidence intervals."""
