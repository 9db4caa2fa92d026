# SPDX-License-Identifier: Apache-2.0
"""The governor: from temperatures, batteries and requests to one layer budget."""
