# SPDX-License-Identifier: Apache-2.0
"""Everything that is drawn: debug picture, dashboard, timeline, contact sheet."""
