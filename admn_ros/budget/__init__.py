# SPDX-License-Identifier: Apache-2.0
"""Compute budgets, cost tables, and their exact arithmetic."""
