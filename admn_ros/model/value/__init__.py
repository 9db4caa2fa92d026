# SPDX-License-Identifier: Apache-2.0
"""Allocation by the predicted value of each input."""
