# SPDX-License-Identifier: Apache-2.0
"""What happened, in figures and tables."""
