# SPDX-License-Identifier: Apache-2.0
"""Decoding of audio messages to samples, with what one message leaves to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from admn_ros.deployment import InputTopic, SoundFormat
from admn_ros.errors import InputError
from admn_ros.sample import MOST_CHANNELS
from admn_ros.sensing.decode.audio_coding import coding_of
from admn_ros.sensing.decode.images import Buffer, bytes_of, choose
from admn_ros.sensing.decode.riff import WavLayout, find_sound
from admn_ros.sensing.decode.sample_format import FEWEST, NOISE, other_format, steps

Samples = npt.NDArray[np.float32]

MAX_AUDIO_VALUES = 16 * 1024 * 1024
"""Maximum number of values (samples times channels) in an audio message."""
_TYPES: dict[str, np.dtype[Any]] = {"S16LE": np.dtype("<i2"), "F32LE": np.dtype("<f4")}
_WAV_CODING = {"S16LE": (1, 16), "F32LE": (3, 32)}
"""Coding and bits of a WAV file by encoding."""
_NS = 1_000_000_000
_TOLERANCE_NS = 20_000_000
_PAUSE_NS = _NS
_FOLLOW = 0.05
_RECENT = 6144
"""Number of bytes, from several messages, in which encoded sound is looked for; three frames of MPEG audio and more."""
LOUDEST = 100.0
"""Largest value of F32LE, 40 dB above full scale. Larger ones are integers, or the bytes of another format."""


class AudioMessage(Protocol):
    """admn_ros/AudioFrame."""

    @property
    def sample_rate(self) -> int: ...  # noqa: D102
    @property
    def channels(self) -> int: ...  # noqa: D102
    @property
    def encoding(self) -> str: ...  # noqa: D102
    @property
    def data(self) -> Buffer: ...  # noqa: D102


def decode_audio(msg: AudioMessage) -> Samples:
    """Decode an audio chunk to float32 (samples, channels), full scale 1.0.

    S16LE is divided by 32768. F32LE is not changed, even beyond full scale, up to 100. A WAV header of the same format
    is skipped.

    Raises:
        InputError: the encoding is unknown, the rate or number of channels is out of the range of `AudioFrame.msg`,
            there are no data, the length is not a multiple of one sample of all channels, a value is not finite or
            far beyond full scale, or the data are encoded, have a header that differs, or are no S16LE.
    """
    dtype = choose(msg.encoding, _TYPES)
    if not 1000 <= msg.sample_rate <= 384_000:
        raise InputError("sample_rate", msg.sample_rate, "1000 to 384000")
    if not 1 <= msg.channels <= MOST_CHANNELS:
        raise InputError("channels", msg.channels, f"1 to {MOST_CHANNELS}")
    data = bytes_of(msg.data)
    if (coding := coding_of(data.data)) is not None:
        raise _encoded(coding.name)
    if (layout := _wav_layout(data)) is not None:
        _check_format(layout, SoundFormat.model_construct(
            sample_rate_hz=msg.sample_rate, channels=msg.channels, encoding=msg.encoding))
        data = data[layout.start:layout.start + layout.size]
    unit = dtype.itemsize * msg.channels
    if data.size == 0 or data.size % unit:
        raise InputError("data", f"{data.size} bytes",
                         f"a multiple of {unit} bytes ({msg.channels} channels of {msg.encoding}), not zero")
    if msg.encoding == "S16LE" and (other := other_format(data, msg.channels)) is not None:
        raise _encoded(other)
    return _to_float(data, dtype, msg.channels)


class SoundDecoder:
    """Decodes the audio messages of one input.

    Messages without a format of their own (`audio_data`) are pieces of one stream of bytes. A sample that is cut by the
    end of a message is completed by the next one. The first message, and the first one after a pause of a second,
    begins with a whole sample.

    Lost messages are noticed by the stamps. They are taken to be as long as the messages around them if these have
    equal lengths; otherwise the next message begins with a whole sample. If 16-bit samples are cut, and the stream
    would be noise but is smooth when shifted by one byte, it is shifted: a message that was lost unnoticed disturbs the
    others no longer than that.

    Once a stream was recognized as encoded or as one of another format, its messages are refused until a pause, because
    the later ones look like noise.

    Args:
        entry: configured topic of the input.
    """

    def __init__(self, entry: InputTopic) -> None:
        self._format = entry.sound or SoundFormat() if entry.type == "audio_data" else None
        self._stream: _Stream | None = None

    def decode(self, message: Any, stamp_ns: int) -> tuple[Samples, int]:
        """Decode a message to samples float32 (samples, channels), full scale 1.0, and their rate in Hz.

        The samples are empty if the message holds less than one.

        Args:
            message: message from the topic.
            stamp_ns: its stamp.

        Raises:
            InputError: the message cannot be used.
        """
        if self._format is None:
            return decode_audio(message), int(message.sample_rate)
        data = bytes_of(message.audio.data)
        if data.size == 0:
            raise InputError("data", "0 bytes", "at least one byte")
        if self._stream is None or self._stream.pauses(stamp_ns):
            self._stream = _Stream(self._format)
        return self._stream.samples(data, stamp_ns), self._format.sample_rate_hz


@dataclass
class _Stream:
    """Bytes of one input since the last pause.

    Attributes:
        format: format of the samples.
        rest: bytes of a sample that is not complete.
        end_ns: time of the last byte, from the stamps without their jitter.
        length: number of bytes of the last message.
        cut: whether a message ended within a sample.
        recent: last bytes of small messages, in which encoded sound is looked for.
        refused: error of every further message, once the stream is certain to be of another format.
    """

    format: SoundFormat
    rest: bytes = b""
    end_ns: int | None = None
    length: int = 0
    cut: bool = False
    recent: bytes = b""
    refused: InputError | None = None

    @property
    def unit(self) -> int:
        """Bytes of one sample of all channels."""
        return _TYPES[self.format.encoding].itemsize * self.format.channels

    def pauses(self, stamp_ns: int) -> bool:
        """Return whether a stamp is far from those before it."""
        return self.end_ns is not None and abs(stamp_ns - self.end_ns) > _PAUSE_NS

    def samples(self, data: npt.NDArray[np.uint8], stamp_ns: int) -> Samples:
        """Return the samples that are complete with the next message."""
        skipped = self._follow(data.size, stamp_ns)
        self._refuse_encoded(data)
        plain = self._without_header(data)
        if plain.size != data.size:
            self.rest, skipped = b"", 0
        joined = np.concatenate([np.frombuffer(self.rest, np.uint8), plain[skipped:]]) \
            if self.rest or skipped else plain
        self.cut |= joined.size % self.unit > 0
        if self.cut and self.format.encoding == "S16LE" and _is_shifted(joined, self.format.channels):
            joined = joined[1:]
        whole = joined.size - joined.size % self.unit
        self.rest = joined[whole:].tobytes()
        if self.format.encoding == "S16LE" and (other := other_format(joined[:whole], self.format.channels)):
            raise self._refuse(_encoded(other))
        return _to_float(joined[:whole], _TYPES[self.format.encoding], self.format.channels)

    def _follow(self, size: int, stamp_ns: int) -> int:
        """Follow the stamps; return the number of bytes to skip up to the next sample if messages are missing."""
        length_ns = size * _NS // (self.unit * self.format.sample_rate_hz)
        late_ns = 0 if self.end_ns is None else stamp_ns - (self.end_ns + length_ns)
        steady = abs(late_ns) <= _TOLERANCE_NS
        self.end_ns = stamp_ns - round((1 - _FOLLOW) * late_ns) if steady else stamp_ns
        before, self.length = self.length, size
        if steady:
            return 0
        missing = size * round(late_ns / max(length_ns, 1)) if size == before else -len(self.rest)
        position, self.rest = (len(self.rest) + missing) % self.unit, b""
        return -position % self.unit

    def _refuse_encoded(self, data: npt.NDArray[np.uint8]) -> None:
        if self.refused is not None:
            raise self.refused.with_traceback(None)
        before, self.recent = self.recent, (self.recent + data[-_RECENT:].tobytes())[-_RECENT:]
        found = coding_of(data.data)
        if data.size < _RECENT and not (found is not None and found.certain):
            joined = coding_of(before + data.tobytes())
            found = joined if joined is not None and joined.certain else found
        if found is not None:
            self.rest = b""
            raise self._refuse(_encoded(found.name)) if found.certain else _encoded(found.name)

    def _without_header(self, data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        layout = _wav_layout(data)
        if layout is None:
            return data
        try:
            _check_format(layout, self.format)
        except InputError as error:
            raise self._refuse(error) from None
        return data[layout.start:layout.start + layout.size]

    def _refuse(self, error: InputError) -> InputError:
        """Refuse all further messages with an error, and return it."""
        self.refused, self.rest = error, b""
        return error


def _encoded(coding: str) -> InputError:
    return InputError("data", f"sound coded as {coding}", "samples (S16LE or F32LE), as with `format: wave`")


def _wav_layout(data: npt.NDArray[np.uint8]) -> WavLayout | None:
    """Return the layout of a message that begins with the header of a WAV file; None for other data.

    Raises:
        InputError: the header is not complete.
    """
    if data[:4].tobytes() != b"RIFF" or data[8:12].tobytes() != b"WAVE":
        return None
    layout = find_sound(data.data)
    if layout is None:
        raise InputError("data", "a part of the header of a WAV file", "a whole header, or samples")
    return layout


def _check_format(layout: WavLayout, expected: SoundFormat) -> None:
    """Check that a WAV file has a format.

    Raises:
        InputError: its format is another one.
    """
    found = layout.sample_rate, layout.channels, (layout.coding, layout.bits)
    if found != (expected.sample_rate_hz, expected.channels, _WAV_CODING[expected.encoding]):
        raise InputError("data", f"a WAV file of {layout.sample_rate} Hz, {layout.channels} channels, "
                         f"{layout.bits} bits, coding {layout.coding}",
                         f"{expected.sample_rate_hz} Hz, {expected.channels} channels, {expected.encoding}")


def _to_float(data: npt.NDArray[np.uint8], dtype: np.dtype[Any], channels: int) -> Samples:
    """Convert the bytes of whole samples to float32 (samples, channels)."""
    if data.size // dtype.itemsize > MAX_AUDIO_VALUES:
        raise InputError("data", f"{data.size // dtype.itemsize} values", f"at most {MAX_AUDIO_VALUES}")
    samples: npt.NDArray[Any] = data.view(dtype).reshape(-1, channels)
    if dtype.kind == "i":
        return np.asarray(samples / np.float32(32768), dtype=np.float32)
    if not np.isfinite(samples).all():
        raise InputError("data", f"{np.count_nonzero(~np.isfinite(samples))} values that are NaN or infinite",
                         "finite values")
    largest = float(np.abs(samples).max(initial=0.0))
    if largest > LOUDEST:
        raise InputError("data", f"values up to {largest:g}", f"full scale 1.0, at most {LOUDEST:g}")
    return np.asarray(samples, dtype=np.float32)


def _is_shifted(data: npt.NDArray[np.uint8], channels: int) -> bool:
    """Return whether 16-bit samples are noise as they are, and smooth from the second byte on."""
    if data.size < 2 * channels * FEWEST:
        return False
    as_is, shifted = (float(steps(d[:d.size // 2 * 2].view("<i2"), channels).mean()) for d in (data, data[1:]))
    return as_is > NOISE and shifted < as_is / 4
