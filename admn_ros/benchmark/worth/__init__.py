# SPDX-License-Identifier: Apache-2.0
"""What a budget buys with a model: its allocation beside other policies, in every unit and on data it has not seen."""
