# SPDX-License-Identifier: Apache-2.0
"""What the node reports about its frames: counters, and whether output comes."""
