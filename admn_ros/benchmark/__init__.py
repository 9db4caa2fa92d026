# SPDX-License-Identifier: Apache-2.0
"""Comparisons of methods: result tables, and the probe of a dataset."""
