# SPDX-License-Identifier: Apache-2.0
"""Folders of image and sound files: formats, classes, broken files."""

from __future__ import annotations

import logging
import struct
import wave
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from admn_ros.datasets import image_files
from admn_ros.datasets.audio_folder import AudioFolder
from admn_ros.datasets.image_folder import ImageFolder
from admn_ros.datasets.sound_files import read_sound
from admn_ros.errors import InputError
from admn_ros.model.presets import preset
from admn_ros.sample import Modality, SensorKey

RGB, AUDIO = SensorKey("node1", Modality.RGB), SensorKey("node1", Modality.AUDIO)


def write_picture(path: Path, blue: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[..., 0] = blue
    encoded = cv2.imencode(".png" if path.suffix.lower() == ".png" else ".jpg", picture)[1]
    path.write_bytes(encoded.tobytes())


def write_float_wav(path: Path, samples: np.ndarray, rate_hz: int, *, extensible: bool = False) -> None:
    """32 or 64 bit floating point (n, channels), with a chunk of odd length before the sound."""
    width, channels = samples.dtype.itemsize, samples.shape[1]
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else 3, channels, rate_hz, rate_hz * channels * width,
                       channels * width, 8 * width)
    if extensible:
        form += struct.pack("<HHIH", 22, 8 * width, 0, 3) + bytes.fromhex("000000001000800000aa00389b71")
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
                    for name, data in ((b"LIST", b"abc"), (b"fmt ", form), (b"data", samples.tobytes())))
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)


def write_pcm_wav(path: Path, samples: np.ndarray, rate_hz: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number, name in enumerate(("dog/1.JPEG", "cat/deep/2.png", "cat/3.jpg", "4.PNG")):
        write_picture(tmp_path / name, 10 + 60 * number)
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "cat" / "._3.jpg").write_bytes(b"left behind by some systems")
    return tmp_path


def test_pictures_in_classes_and_any_other_tree(pictures: Path) -> None:
    source = ImageFolder(pictures)
    assert source.tree.classes == ("cat", "dog")
    assert [p.name for p in source.tree.paths] == ["4.PNG", "3.jpg", "2.png", "1.JPEG"]
    assert [source[i].target.label for i in range(4)] == [-1, 0, 0, 1]
    shades = [int(source[i].readings[RGB][10, 15, 2]) for i in range(4)]  # blue is last in RGB
    assert shades == pytest.approx([190, 130, 70, 10], abs=4)
    sample = source[3].sample(preset("gdtm-tiny"))
    assert sample.inputs[Modality.RGB].shape == (3, 3, 96, 96)
    assert sample.present[Modality.RGB].tolist() == [True, False, False]
    with pytest.raises(IndexError):
        source[4]


def test_a_broken_file_is_named_once_and_the_next_one_read(pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = pictures / "cat" / "3.jpg"
    broken.write_bytes(broken.read_bytes()[:60])
    source = ImageFolder(pictures)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert np.array_equal(source[1].readings[RGB], source[2].readings[RGB])
            assert source[1].target.label == 0
    assert list(source.tree.broken) == [broken]
    assert len(caplog.records) == 1
    assert str(broken) in caplog.text


@pytest.mark.parametrize(("head", "found"), [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
    (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
    (b"", "unknown first bytes"),
])
def test_what_a_failed_download_leaves_is_named(tmp_path: Path, head: bytes, found: str) -> None:
    for read in (image_files.rgb_of, image_files.depth_png_of) if head else (image_files.rgb_of,):
        with pytest.raises(InputError, match=rf"^x\.png.*found {found}"):
            read(head, "x.png")


def test_too_many_broken_files_are_an_error(tmp_path: Path) -> None:
    for number in range(6):
        write_picture(tmp_path / f"{number}.png", 0)
        if number < 5:
            (tmp_path / f"{number}.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match=r"4 broken of 6 files; the first: .*0\.png.*at most 3"):
        ImageFolder(tmp_path)[0]
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "x.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="1 broken of 1 files"):
        ImageFolder(tmp_path / "one")[0]


def test_sounds_at_their_own_rate(tmp_path: Path) -> None:
    t = np.arange(8820)[:, None] / 44100
    tone = np.sin(2 * np.pi * 1000 * t) * np.array([[0.5, 0.25]])
    write_pcm_wav(tmp_path / "bird" / "a.wav", tone, 44100)
    write_float_wav(tmp_path / "b.WAV", tone[:, :1].astype(np.float32), 22050)
    source = AudioFolder(tmp_path)
    flat, bird = source[0], source[1]
    assert [(s.readings[AUDIO].shape, s.audio_rate_hz, s.target.label) for s in (flat, bird)] == [
        ((8820, 1), 22050, -1), ((8820, 2), 44100, 0)]
    assert np.abs(bird.readings[AUDIO]).max(axis=0) == pytest.approx([0.5, 0.25], abs=1e-3)
    mel = bird.sample(preset("gdtm-tiny")).inputs[Modality.AUDIO][0]
    assert mel.shape == (4, 64, 64)
    assert int(mel[0, :, -1].argmax()) == pytest.approx(64 * 1000 / 2840, abs=3)  # of 2840 mels at 8 kHz
    assert np.allclose(mel[0], mel[2])  # two channels stand for four


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("extensible", [False, True])
def test_floating_point_wavs(tmp_path: Path, kind: type, extensible: bool) -> None:
    samples = np.linspace(-1.5, 1.5, 60).reshape(-1, 3).astype(kind)
    write_float_wav(tmp_path / "x.wav", samples, 48000, extensible=extensible)
    sound, rate_hz = read_sound(tmp_path / "x.wav")
    assert (sound.dtype, rate_hz) == (np.float32, 48000)
    assert np.array_equal(sound, samples.astype(np.float32))
    samples[4, 1] = np.nan
    write_float_wav(tmp_path / "x.wav", samples, 48000)
    with pytest.raises(InputError, match="finite"):
        read_sound(tmp_path / "x.wav")


def test_other_codings_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.wma").write_bytes(b"0&")
    (tmp_path / "b.mp3").write_bytes(b"ID3")
    (tmp_path / "c.mp3").write_bytes(b"ID3")
    with pytest.raises(InputError, match=r"2 files \.mp3, 1 files \.wma; allowed: recordings \(\.wav, \.f") as info:
        AudioFolder(tmp_path)
    assert "\n" not in str(info.value)
    with pytest.raises(InputError, match="no folder"):
        ImageFolder(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no files"):
        ImageFolder(tmp_path / "empty")


def test_a_public_collection_of_ogg_files(shared_data: Path) -> None:
    source = AudioFolder(shared_data / "esc10")
    assert len(source) == 400
    assert len(source.tree.classes) == 10
    sample = source[0]
    sound = sample.readings[AUDIO]
    assert (sound.dtype, sound.ndim, sample.audio_rate_hz) == (np.float32, 2, 44100)
    assert 4 <= len(sound) / 44100 <= 6
    assert 0 < np.abs(sound).max() <= 1.1


@pytest.mark.parametrize("ending", ["flac", "ogg", "wav"])
def test_compressed_sound(tmp_path: Path, ending: str) -> None:
    t = np.arange(8000)[:, None] / 16000
    tone = (0.5 * np.sin(2 * np.pi * 440 * t) * np.array([[1.0, 0.5]])).astype(np.float32)
    path = tmp_path / f"x.{ending}"
    soundfile.write(path, tone, 16000)
    sound, rate_hz = read_sound(path)
    assert (sound.dtype, sound.shape, rate_hz) == (np.float32, (8000, 2), 16000)
    assert np.abs(sound - tone).max() < (0.05 if ending == "ogg" else 1 / 32767)
    if ending != "ogg":  # an OGG file does not say how long it is
        path.write_bytes(path.read_bytes()[:-3000])
        with pytest.raises(InputError, match=rf"x\.{ending}"):
            read_sound(path)


def chunk(name: bytes, data: bytes, padding: bytes = b"") -> bytes:
    return name + struct.pack("<I", len(data)) + data + padding


FORMAT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16))
SOUND = np.array([0, 16384, -32768, 32767], "<i2").tobytes()
DATA = chunk(b"data", SOUND)


@pytest.mark.parametrize("chunks", [
    FORMAT + DATA,
    chunk(b"LIST", b"INFOodd", b"\0") + FORMAT + DATA,
    FORMAT + chunk(b"LIST", b"INFOodd", b"\0") + DATA,
    FORMAT + DATA + chunk(b"note", b"odd", b"\0"),
    FORMAT + DATA + chunk(b"note", b"odd"),
    FORMAT + DATA + chunk(b"note", b"a comment that is cut off")[:-9],
    FORMAT + b"data" + struct.pack("<I", 0xFFFFFFFF) + SOUND,
    FORMAT + b"data" + struct.pack("<I", 0x7FFFFFFF) + SOUND,
])
@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF])
def test_wavs_with_other_chunks_and_from_pipes(tmp_path: Path, chunks: bytes, size: int | None) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks) + 4 if size is None else size) + b"WAVE" + chunks)
    assert read_sound(path)[0][:, 0].tolist() == [0.0, 0.5, -1.0, 32767 / 32768]


@pytest.mark.parametrize("lost", [1, 2, 7])
def test_a_wav_that_is_cut_off(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(FORMAT + DATA) + 4) + b"WAVE" + (FORMAT + DATA)[:-lost])
    with pytest.raises(InputError, match=rf"x\.wav: found {8 - lost} of 8 bytes"):
        read_sound(path)
