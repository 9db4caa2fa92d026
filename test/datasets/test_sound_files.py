# SPDX-License-Identifier: Apache-2.0
"""WAV files as pipes, old recorders and other programs leave them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from admn_ros.datasets.sound_files import read_sound
from admn_ros.errors import InputError

SOUND = np.arange(-400, 400, dtype="<i2") * 40
PCM = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
EXTENSIBLE = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 16_000, 32_000, 2, 16, 22, 16, 4, 1) + bytes.fromhex(
    "000000001000800000aa00389b71")


def chunk(name: bytes, data: bytes, size: int | None = None, pad: bool = True) -> bytes:
    """A chunk whose header may name another size, and which may lack its padding."""
    return name + struct.pack("<I", len(data) if size is None else size) + data + b"\0" * (pad and len(data) % 2)


def wav(*chunks: bytes, size: int | None = None) -> bytes:
    body = b"".join(chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body) if size is None else size) + b"WAVE" + body


FORM, DATA = chunk(b"fmt ", PCM), chunk(b"data", SOUND.tobytes())
LAVF = chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf60.3.100\0\0")


@pytest.mark.parametrize("file", [
    pytest.param(wav(FORM, chunk(b"data", SOUND.tobytes(), size), size=riff), id=f"{size:#x}")
    for size, riff in ((0xFFFFFFFF, 0xFFFFFFFF), (0, 0), (0, None), (0x7FFFFFFF, 0x7FFFFFFF), (0x80000000, 0x80000024),
                       (0x7FFFEFDC, 0x7FFFF000))
] + [
    pytest.param(wav(FORM, LAVF, chunk(b"data", SOUND.tobytes(), 0xFFFFFFFF), size=0xFFFFFFFF), id="LIST and pipe"),
    pytest.param(wav(FORM, DATA, size=0), id="RIFF size 0"),
    pytest.param(wav(FORM, chunk(b"LIST", b"INFOabc", pad=False), DATA), id="unpadded"),
    pytest.param(wav(chunk(b"LIST", b"abc", pad=False), FORM, DATA), id="unpadded first"),
    pytest.param(wav(chunk(b"bext", bytes(603), pad=False), FORM, chunk(b"junk", b"x", pad=False), DATA), id="both"),
    pytest.param(wav(chunk(b"LIST", b"abc"), FORM, DATA), id="padded"),
    pytest.param(wav(chunk(b"fmt ", EXTENSIBLE), chunk(b"data", SOUND.tobytes(), 0)), id="extensible pipe"),
])
def test_the_sound_is_read_to_the_last_sample(tmp_path: Path, file: bytes) -> None:
    (tmp_path / "x.wav").write_bytes(file)
    samples, rate_hz = read_sound(tmp_path / "x.wav")
    assert rate_hz == 16_000
    np.testing.assert_array_equal(samples[:, 0], SOUND / np.float32(32768))


@pytest.mark.parametrize(("file", "found"), [
    (wav(FORM, DATA)[:-100], "1500 of 1600 bytes"),
    (wav(FORM, chunk(b"LIST", b"abc", pad=False), DATA)[:-100], "1500 of 1600 bytes"),
    (wav(FORM, chunk(b"data", b""), LAVF), "0 values"),
    (wav(FORM, chunk(b"data", np.tile(SOUND, 9).tobytes(), 1600)), "1600 bytes of sound, and 12800 after it"),
    (wav(chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 1, 2, 2, 16)), DATA), "1 Hz"),
    (wav(chunk(b"fmt ", struct.pack("<HHIIHH", 1, 80, 16_000, 2_560_000, 160, 16)), DATA), "80 channels"),
    (wav(chunk(b"fmt ", struct.pack("<HHIIHH", 3, 1, 16_000, 64_000, 4, 32)),
         chunk(b"data", SOUND.astype("<f4").tobytes())), "values up to 16000"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    (b"<!DOCTYPE html><html>404</html>", "a web page"),
    (wav(FORM, chunk(b"data", b"")), "0 values"),
    (wav(chunk(b"fmt ", struct.pack("<HHIIHH", 1, 0, 16_000, 0, 0, 16)), DATA), "zero"),
])
def test_what_is_cut_off_or_empty_is_refused(tmp_path: Path, file: bytes, found: str) -> None:
    (tmp_path / "x.wav").write_bytes(file)
    with pytest.raises(InputError) as caught:
        read_sound(tmp_path / "x.wav")
    assert found in str(caught.value) and "\n" not in str(caught.value)


def test_a_flac_file_of_a_coder_that_wrote_into_a_pipe_is_refused_in_words(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.flac", SOUND, 16_000)
    data = bytearray((tmp_path / "x.flac").read_bytes())
    assert data[:4] == b"fLaC"
    data[21] &= 0xF0  # The number of samples has 36 bits; 0 is unknown.
    data[22:26] = bytes(4)
    (tmp_path / "x.flac").write_bytes(data)
    with pytest.raises(InputError, match="no length in its header"):
        read_sound(tmp_path / "x.flac")


def test_a_coding_in_which_nothing_can_be_looked_up_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", SOUND, 16_000, subtype="GSM610")
    samples, rate_hz = read_sound(tmp_path / "x.wav")
    assert rate_hz == 16_000 and len(samples) >= len(SOUND)


@pytest.mark.parametrize("tags", [b"TAG" + bytes(125), b"ID3 " + struct.pack("<I", 9000) + bytes(9000)])
def test_tags_after_the_sound_are_ignored(tmp_path: Path, tags: bytes) -> None:
    (tmp_path / "x.wav").write_bytes(wav(FORM, DATA, tags))
    np.testing.assert_array_equal(read_sound(tmp_path / "x.wav")[0][:, 0], SOUND / np.float32(32768))
