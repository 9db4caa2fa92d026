# SPDX-License-Identifier: Apache-2.0
"""How well a small network localizes by each modality alone."""
