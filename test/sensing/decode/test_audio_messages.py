# SPDX-License-Identifier: Apache-2.0
"""Audio messages: samples, streams that are cut anywhere, and everything that is no sound."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.deployment import InputTopic
from admn_ros.errors import InputError
from admn_ros.sensing.decode.audio_coding import coding_of
from admn_ros.sensing.decode.audio_messages import MAX_AUDIO_VALUES, SoundDecoder, decode_audio
from admn_ros.sensing.decode.sample_format import other_format

RATE = 16_000
VOICE = (6000 * np.sin(np.arange(16_000) * 2 * np.pi * 220 / RATE) * np.linspace(0.2, 1, 16_000)).astype("<i2")


@dataclass(frozen=True)
class Audio:
    """admn_ros/AudioFrame."""

    sample_rate: int = 16000
    channels: int = 2
    encoding: str = "S16LE"
    data: Any = b"\0" * 8


def test_audio_in_16_bit_has_full_scale_one() -> None:
    stored = np.array([[-32768, 32767], [0, 16384]], "<i2")
    out = decode_audio(Audio(data=stored.tobytes()))
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, np.array([[-1, 32767 / 32768], [0, 0.5]], np.float32))


def test_audio_in_float_is_kept() -> None:
    stored = np.array([[0.25, -1.5, 0.0]], "<f4")
    out = decode_audio(Audio(channels=3, encoding="F32LE", data=np.frombuffer(stored.tobytes(), np.uint8)))
    np.testing.assert_array_equal(out, stored)


@pytest.mark.parametrize(("change", "field"), [
    ({"encoding": "S32LE"}, "encoding"),
    ({"sample_rate": 0}, "sample_rate"),
    ({"sample_rate": 999}, "sample_rate"),
    ({"sample_rate": 384_001}, "sample_rate"),
    ({"channels": 0}, "channels"),
    ({"channels": 65}, "channels"),
    ({"data": b""}, "data"),
    ({"data": bytes(6)}, "data"),
    ({"data": struct.pack("<ff", 0.0, float("nan")), "encoding": "F32LE"}, "data"),
    ({"data": struct.pack("<ff", 0.0, float("-inf")), "encoding": "F32LE"}, "data"),
    ({"data": bytes(4 * MAX_AUDIO_VALUES)}, "data"),
])
def test_audio_refusals(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        decode_audio(replace(Audio(), **change))
    assert caught.value.field == field


# --- streams of bytes -----------------------------------------------------------------------------------


class Microphone:
    """A driver that publishes a stream of bytes in pieces, with the stamp of the last byte."""

    def __init__(self, stream: bytes, channels: int = 1, encoding: str = "S16LE") -> None:
        self.decoder = SoundDecoder(InputTopic.model_validate({
            "topic": "/sound", "type": "audio_data", "sound": {"channels": channels, "encoding": encoding}}))
        self.stream, self.at = stream, 0
        self.bytes_per_s = RATE * channels * {"S16LE": 2, "F32LE": 4}[encoding]

    def lose(self, size: int) -> None:
        self.at += size

    def send(self, size: int, late_ns: int = 0) -> np.ndarray:
        piece = self.stream[self.at:self.at + size]
        self.at += size
        stamp_ns = 10**15 + self.at * 10**9 // self.bytes_per_s + late_ns
        samples, rate_hz = self.decoder.decode(SimpleNamespace(audio=SimpleNamespace(data=piece)), stamp_ns)
        assert rate_hz == RATE and samples.dtype == np.float32 and samples.ndim == 2
        return samples


def as_float(values: np.ndarray) -> np.ndarray:
    return (values / np.float32(32768)).astype(np.float32)


@settings(deadline=None)
@given(st.lists(st.integers(1, 999), min_size=1, max_size=30), st.sampled_from([1, 2, 3]))
def test_a_stream_may_be_cut_anywhere(sizes: list[int], channels: int) -> None:
    mic = Microphone(VOICE.tobytes(), channels)
    got = np.concatenate([mic.send(size) for size in sizes])
    whole = sum(sizes) // (2 * channels)
    np.testing.assert_array_equal(got, as_float(VOICE[:whole * channels].reshape(-1, channels)))


def test_floating_point_may_be_cut_too() -> None:
    values = as_float(VOICE)
    mic = Microphone(values.tobytes(), encoding="F32LE")
    np.testing.assert_array_equal(np.concatenate([mic.send(321) for _ in range(20)])[:, 0], values[:321 * 20 // 4])


def test_each_input_has_its_own_rest() -> None:
    mics = [Microphone(VOICE.tobytes()) for _ in range(2)]
    assert [len(mics[0].send(3)), len(mics[1].send(1)), len(mics[0].send(1)), len(mics[1].send(1))] == [1, 0, 1, 1]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("lost", [1, 2, 5])
def test_after_lost_messages_of_equal_length_samples_are_whole_again(channels: int, lost: int) -> None:
    size = 641 * channels
    mic = Microphone(VOICE.tobytes(), channels)
    mic.send(size)
    mic.lose(lost * size)
    got = mic.send(size, late_ns=3_000_000)
    unit = 2 * channels
    first = -(-(lost + 1) * size // unit)
    np.testing.assert_array_equal(
        got, as_float(VOICE).reshape(-1)[first * channels:(first + len(got)) * channels].reshape(-1, channels))
    assert len(got) >= size // unit - 1


@pytest.mark.parametrize("sizes", [(641, 777), (641, 1201)])
def test_16_bit_samples_are_found_by_the_sound_where_stamps_do_not_tell(sizes: tuple[int, int]) -> None:
    mic = Microphone(VOICE.tobytes())
    mic.send(641)
    mic.lose(99)  # 3 ms: within the jitter of stamps
    for size in (*sizes, 640):
        start = mic.at
        got = mic.send(size)
        first = start + 1 & ~1
        np.testing.assert_array_equal(got[-100:, 0], as_float(VOICE)[:(start + size) // 2][-100:])
        assert abs(len(got) - (start + size - first) // 2) <= 1


def test_a_stream_joined_within_a_sample_is_understood() -> None:
    mic = Microphone(VOICE.tobytes())
    mic.lose(321)
    np.testing.assert_array_equal(mic.send(641)[:, 0], as_float(VOICE)[161:481])


def test_noise_is_left_as_it_is() -> None:
    noise = np.random.default_rng(0).integers(-32768, 32768, 4000).astype("<i2")
    mic = Microphone(noise.tobytes())
    np.testing.assert_array_equal(np.concatenate([mic.send(333) for _ in range(12)])[:, 0], as_float(noise[:1998]))


# --- what is no samples ---------------------------------------------------------------------------------


def encoded(form: str, subtype: str | None = None) -> bytes:
    out = BytesIO()
    soundfile.write(out, as_float(VOICE), RATE, format=form, subtype=subtype)
    return out.getvalue()


def adts(count: int, size: int = 200) -> bytes:
    """AAC frames: only the headers are real."""
    head = bytes([0xFF, 0xF1, 0x60, 0x40 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC])
    return (head + bytes(range(size - 7))) * count


@pytest.mark.parametrize(("data", "name"), [
    (b"ID3\x04\0\0\0\0\x02\x01" + bytes(400), "MP3"),
    (encoded("MP3"), "layer 3"),
    (encoded("OGG"), "Ogg"),
    (encoded("FLAC"), "FLAC"),
    (encoded("AIFF"), "AIFF"),
    *((encoded(form, "PCM_16"), name) for form, name in (
        ("RF64", "4 GiB"), ("W64", "Wave64"), ("CAF", "CAF"), ("VOC", "VOC"))),
    (b"RIFX" + encoded("WAV", "PCM_16")[4:], "big-endian"),
    (b"#!AMR\n" + bytes(500), "AMR"),
    (adts(3), "AAC"),
    (adts(1), "AAC"),
])
def test_compressed_sound_is_refused_by_name(data: bytes, name: str) -> None:
    with pytest.raises(InputError, match=f"sound coded as .*{name}"):
        Microphone(data).send(len(data) & ~1 if len(data) > 400 else len(data))
    with pytest.raises(InputError, match=f"sound coded as .*{name}"):
        decode_audio(Audio(data=data, channels=1))


@pytest.mark.parametrize("form", ["MP3", "OGG", "FLAC"])
@pytest.mark.parametrize("size", [320, 1024])
def test_no_piece_of_a_compressed_stream_becomes_noise(form: str, size: int) -> None:
    data = encoded(form)
    mic = Microphone(data)
    for _ in range(len(data) // size):
        with pytest.raises(InputError, match="sound coded as"):
            mic.send(size)


def test_mp3_is_recognized_in_the_middle() -> None:
    data = encoded("MP3")
    for start in range(300, 700, 33):
        assert coding_of(data[start:start + 1500]) == ("MPEG audio, layer 3", True)


def test_after_a_pause_a_compressed_stream_may_be_followed_by_samples() -> None:
    mic = Microphone(encoded("FLAC")[:1024] + bytes(70_000) + VOICE.tobytes())
    with pytest.raises(InputError, match="FLAC"):
        mic.send(1024)
    mic.lose(70_000)
    np.testing.assert_array_equal(mic.send(640)[:, 0], as_float(VOICE[:320]))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3.0, 30.0, 300.0, 3000.0, 30000.0]), st.integers(1, 4))
def test_samples_are_not_mistaken_for_a_coding(seed: int, scale: float, channels: int) -> None:
    values = np.random.default_rng(seed).normal(0, scale, 2000 * channels).clip(-32768, 32767).astype("<i2")
    assert coding_of(values.tobytes()) is None


@pytest.mark.parametrize(("size", "sent"), [(None, 5), (0xFFFFFFFF, 5), (0, 5)])
def test_the_header_of_a_wav_file_is_skipped(size: int | None, sent: int) -> None:
    data = bytearray(encoded("WAV", "PCM_16"))
    if size is not None:
        data[40:44] = struct.pack("<I", size)
    assert bytes(data[36:40]) == b"data"
    mic = Microphone(bytes(data))
    got = np.concatenate([mic.send(1001) for _ in range(sent)])[:, 0]
    np.testing.assert_array_equal(got, as_float(VOICE)[:(1001 * sent - 44) // 2])
    one = decode_audio(Audio(data=bytes(data), channels=1))
    np.testing.assert_allclose(one[:, 0], as_float(VOICE), atol=1e-4)


@pytest.mark.parametrize(("channels", "encoding", "subtype"), [(2, "S16LE", "PCM_16"), (1, "F32LE", "PCM_16"),
                                                               (1, "S16LE", "FLOAT"), (1, "S16LE", "PCM_24")])
def test_a_wav_header_of_another_format_is_refused(channels: int, encoding: str, subtype: str) -> None:
    data = encoded("WAV", subtype)
    with pytest.raises(InputError, match=f"of 16000 Hz, 1 channels.*16000 Hz, {channels} channels, {encoding}"):
        Microphone(data, channels, encoding).send(4096)
    mic = Microphone(data, channels, encoding)  # The header alone, and the sound after it.
    for size in (len(data) - len(data) % 4 - 32_000 if subtype == "PCM_16" else 1000, 1000, 1000):
        with pytest.raises(InputError, match="a WAV file of"):
            mic.send(size)


def test_the_header_of_a_wav_file_may_come_alone_but_not_in_pieces() -> None:
    mic = Microphone(encoded("WAV", "PCM_16"))
    assert len(mic.send(44)) == 0
    np.testing.assert_array_equal(mic.send(640)[:, 0], as_float(VOICE[:320]))
    with pytest.raises(InputError, match="a part of the header"):
        Microphone(encoded("WAV", "PCM_16")).send(20)


def test_an_mp3_stream_in_small_pieces_is_recognized_after_a_few() -> None:
    data = encoded("MP3")
    for start in (0, 300):
        mic = Microphone(data[start:])
        accepted = 0
        with pytest.raises(InputError, match="layer 3"):
            for _ in range(100):
                mic.send(60)
                accepted += 60
        assert accepted < 1800
        for _ in range(10):
            with pytest.raises(InputError, match="layer 3"):
                mic.send(60)


FINE = 0.2 * np.sin(np.arange(16_000) * 2 * np.pi * 220 / RATE) * np.linspace(0.2, 1, 16_000)
FORMATS = {
    "F32LE": lambda x: x.astype("<f4"), "S16BE": lambda x: (x * 32767).astype(">i2"),
    "S32LE": lambda x: (x * 2147483000).astype("<i4"),
    "S32LE of 16 bits": lambda x: (x * 32767).astype("<i4") * 65536,
    "S24LE": lambda x: np.ascontiguousarray((x * 8388607).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("loudness", [0.2, 1.0])
@pytest.mark.parametrize("size", [1024, 1000])
def test_samples_of_another_format_are_refused_by_name(form: str, loudness: float, size: int) -> None:
    name, data = form[:5], FORMATS[form](FINE * loudness).tobytes()
    mic = Microphone(data)
    with pytest.raises(InputError, match=f"sound coded as {name}"):
        for _ in range(4):
            mic.send(size)
    with pytest.raises(InputError, match=f"sound coded as {name}"):
        decode_audio(Audio(data=data[9600:12000], channels=1))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 30.0, 3000.0, 30000.0]), st.integers(-12000, 12000),
       st.integers(1, 4))
def test_sound_and_noise_are_not_mistaken_for_another_format(seed: int, scale: float, bias: int, channels: int) -> None:
    noise = np.random.default_rng(seed).normal(bias, scale, (2000, channels))
    noise[:, 0] += VOICE[-2000:]  # With two channels, one may be noise and the other one not.
    assert other_format(noise.clip(-32768, 32767).astype("<i2").reshape(-1).view(np.uint8), channels) is None


def test_values_far_beyond_full_scale_are_refused() -> None:
    loud = as_float(VOICE) * 32768
    with pytest.raises(InputError, match="full scale"):
        Microphone(loud.tobytes(), encoding="F32LE").send(4096)
