# SPDX-License-Identifier: Apache-2.0
"""Models, datasets, recordings and networks shared by tests of several rooms."""
