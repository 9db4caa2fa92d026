# SPDX-License-Identifier: Apache-2.0
"""A frame to the tensors of a model."""
