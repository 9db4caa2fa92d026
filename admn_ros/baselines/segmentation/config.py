# SPDX-License-Identifier: Apache-2.0
"""Description of the RGB-D segmentation network."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from admn_ros.config import Count, Strict

STRIDE = 32
"""Rows and columns of an input are multiples of it: a stem and four blocks of stride 2."""


class SegmentationConfig(Strict):
    """Two encoders of a stem and four blocks of stride 2, one for RGB and one for depth, and a decoder.

    Attributes:
        classes: names of the classes of the pixels.
        rgb_channels, depth_channels: channels of the inputs.
        height, width: size of the inputs in pixels, multiples of `STRIDE`.
        stem: channels of the stems.
        widths: channels of the blocks.
        decoder: channels of the decoder.
        gate: channels of the gate's convolutions.
    """

    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    rgb_channels: Count = 3
    depth_channels: Count = 3
    height: Annotated[int, Field(ge=STRIDE, multiple_of=STRIDE)] = 64
    width: Annotated[int, Field(ge=STRIDE, multiple_of=STRIDE)] = 128
    stem: Count = 16
    widths: tuple[Count, Count, Count, Count] = (16, 32, 64, 96)
    decoder: Count = 24
    gate: Count = 8
