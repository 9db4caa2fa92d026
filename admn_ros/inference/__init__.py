# SPDX-License-Identifier: Apache-2.0
"""Runs a model folder within a budget."""
