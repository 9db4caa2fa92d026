# SPDX-License-Identifier: Apache-2.0
"""Simulated clips of activities and of audio-visual events, in the layouts of MM-Fi and AVE."""
