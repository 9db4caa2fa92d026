# SPDX-License-Identifier: Apache-2.0
"""The governor node."""
