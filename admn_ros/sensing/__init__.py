# SPDX-License-Identifier: Apache-2.0
"""From a sensor's message to a tensor: decoding, synchronization, preprocessing."""
