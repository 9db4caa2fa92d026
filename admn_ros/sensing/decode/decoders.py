# SPDX-License-Identifier: Apache-2.0
"""Selection of the decoder of an image or radar message by the modality and type of its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from admn_ros.deployment import InputTopic, InputType, RadarGrid
from admn_ros.sample import Array, Modality
from admn_ros.sensing.decode.compressed_depth import decode_compressed_depth
from admn_ros.sensing.decode.compressed_images import decode_compressed_rgb
from admn_ros.sensing.decode.images import OPENCV, ColourConversion, decode_depth, decode_radar, decode_rgb
from admn_ros.sensing.decode.radar_raster import decode_point_cloud, decode_radar_scan, heatmap_of_points

_COLOUR_DECODERS: dict[InputType, Callable[[Any, ColourConversion], Array]] = {
    "image": decode_rgb, "compressed_image": decode_compressed_rgb}
_DECODERS: dict[tuple[Modality, InputType], Callable[[Any, RadarGrid], Array]] = {
    (Modality.DEPTH, "image"): lambda message, _: decode_depth(message),
    (Modality.DEPTH, "compressed_image"): lambda message, _: decode_compressed_depth(message),
    (Modality.RADAR, "image"): lambda message, _: decode_radar(message),
    (Modality.RADAR, "point_cloud"): lambda message, grid: heatmap_of_points(decode_point_cloud(message, grid), grid),
    (Modality.RADAR, "radar_scan"): lambda message, grid: heatmap_of_points(decode_radar_scan(message), grid),
}


def decode_picture(modality: Modality, entry: InputTopic, message: Any,
                   conversion: ColourConversion = OPENCV) -> Array:
    """Decode a message of any modality but audio to an array as in `admn_ros.sample.Reading`.

    Args:
        modality: modality of the input.
        entry: configured topic of the input.
        message: message from the topic.
        conversion: conversion of Bayer patterns and YUV.

    Raises:
        InputError: the message cannot be used.
    """
    if modality is Modality.RGB:
        return _COLOUR_DECODERS[entry.kind_of(modality)](message, conversion)
    return _DECODERS[modality, entry.kind_of(modality)](message, entry.grid or RadarGrid())
