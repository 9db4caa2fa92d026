# SPDX-License-Identifier: Apache-2.0
"""Result tables: ADMN beside its rivals, over budgets, corruptions and seeds."""
