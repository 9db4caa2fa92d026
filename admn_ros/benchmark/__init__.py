# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: result tables of ADMN and its baselines, and a probe of the modalities of a dataset."""
