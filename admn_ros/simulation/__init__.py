# SPDX-License-Identifier: Apache-2.0
"""Made-up worlds whose truth is known."""
