# SPDX-License-Identifier: Apache-2.0
"""Result tables: ADMN and its baselines over budgets, corruptions and seeds."""
