# SPDX-License-Identifier: Apache-2.0
"""The text `format` of sensor_msgs/CompressedImage.

The ROS package compressed_image_transport writes `<encoding>; <codec> compressed <target>`, such as
`rgb8; jpeg compressed bgr8`. The encoding is that of the image before compression, and the target the one to which it
was converted for the codec. An image without colours is not converted, and has no target: `bayer_rggb8; jpeg
compressed `. Drivers that compress by themselves mostly write the codec alone (`jpeg`), or nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ENCODING = re.compile(r"(rgb|bgr|rgba|bgra|mono)(8|16)|bayer_?[a-z]+\d*|yuv422\w*|uyvy|yuyv|nv\d\d|"
                       r"(8|16|32|64)[usf](c\d+)?", re.IGNORECASE)
"""Names of sensor_msgs/image_encodings.hpp, and those of Bayer patterns in other notations."""


@dataclass(frozen=True)
class CompressedFormat:
    """What the text says about the pixels.

    Attributes:
        encoding: encoding of the image before compression; empty if the text does not name one.
        target: encoding of the compressed image; empty if the text does not name one.
        depth: whether the data are those of compressed_depth_image_transport.
    """

    encoding: str
    target: str
    depth: bool

    @classmethod
    def parse(cls, text: str) -> CompressedFormat:
        """Read the text of a message; words that are not known are skipped."""
        first, _, rest = (part.strip() for part in text.partition(";"))
        words = rest.split()
        target = words[-1] if words and _ENCODING.fullmatch(words[-1]) else ""
        return cls(first if _ENCODING.fullmatch(first) else "", target, "compresseddepth" in text.lower())

    @property
    def pattern(self) -> str:
        """Encoding of the Bayer pattern that is compressed as it is; empty if the colours are complete."""
        return self.encoding.lower() if self.encoding.lower().startswith("bayer") and not self.target else ""
