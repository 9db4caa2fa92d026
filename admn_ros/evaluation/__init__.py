# SPDX-License-Identifier: Apache-2.0
"""Evaluation of models on datasets and recordings: records, figures, reports."""
