# SPDX-License-Identifier: Apache-2.0
"""Commands that repeat the experiments of another paper."""
