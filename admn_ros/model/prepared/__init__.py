# SPDX-License-Identifier: Apache-2.0
"""The network prepared for inference on a CPU: the same estimates from fewer operations."""
