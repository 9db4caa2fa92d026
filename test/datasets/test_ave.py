# SPDX-License-Identifier: Apache-2.0
"""AVE: annotations, folders with frames and sound, and ADMN's caches."""

from __future__ import annotations

import pickle
import wave
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from admn_ros.config import AudioInput
from admn_ros.datasets.ave import LABELS, OUTDOOR, AveCache, AveClip, AveFolder, read_annotations
from admn_ros.datasets.corrupted import CorruptedSource
from admn_ros.datasets.sound_files import read_sound
from admn_ros.errors import InputError
from admn_ros.model.presets import AVE_CLASSES, preset
from admn_ros.sample import Modality, SensorKey
from admn_ros.sensing.corruption.presets import corruption_preset

RGB, AUDIO = Modality.RGB, Modality.AUDIO
LINES = ("Church bell&RUhOCu3LNXM&good&0&10\n"
         "Baby cry, infant cry&-pyreSm_sQs&good&2&7\n"
         "Violin, fiddle&AAAAAAAAAAA&good&0&10\n")


def write_wav(path: Path, samples: np.ndarray, width: int = 2, rate_hz: int = 16000) -> None:
    """Samples in [-1, 1), (n, channels)."""
    whole = np.round(samples * 2.0 ** (8 * width - 1)).astype(np.int64)
    if width == 1:
        raw = (whole + 128).astype(np.uint8).tobytes()
    else:
        raw = whole.astype("<i8").reshape(-1, 1).view(np.uint8)[:, :width].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(raw)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "Annotations.txt").write_text(LINES)
    data = tmp_path / "New_Data"
    for number, video in enumerate(("RUhOCu3LNXM", "-pyreSm_sQs")):
        (data / video).mkdir(parents=True)
        for i in range(1, 9):
            bgr = np.zeros((36, 64, 3), np.uint8)
            bgr[..., 2] = 10 * i + number
            cv2.imwrite(str(data / video / f"{i}.png"), bgr)
    t = np.arange(441000)[:, None] / 44100
    write_wav(data / "RUhOCu3LNXM.wav", 0.5 * np.sin(2 * np.pi * 1000 * t), rate_hz=44100)
    return tmp_path


def test_annotations(root: Path) -> None:
    clips = read_annotations(root / "Annotations.txt")
    assert clips[:2] == [AveClip(0, "RUhOCu3LNXM", "good", 0, 10), AveClip(19, "-pyreSm_sQs", "good", 2, 7)]
    (root / "Annotations.txt").write_text("Category&VideoID&Quality&StartTime&EndTime\n\n" + LINES)
    assert read_annotations(root / "Annotations.txt") == clips


def test_classes_are_those_of_the_models() -> None:
    assert len(LABELS) == len(AVE_CLASSES) == 28
    for name, index in LABELS.items():
        words = set(name.lower().replace("(", "").replace(")", "").replace(",", "").split())
        assert set(AVE_CLASSES[index].split("_")) <= words, name
    assert set(AVE_CLASSES) > OUTDOOR


@pytest.mark.parametrize(("line", "words"), [
    ("Church bell&abc&good&0", "4 fields"), ("Doorbell&abc&good&0&10", "Doorbell"),
    ("Bark&../../etc/passwd&good&0&10", "video"), ("Bark&abc&good&x&10", "start, end"),
    ("Bark&abc&good&5&4", "start <= end"), ("Bark&abc&good&nan&5", "start <= end"),
    ("Bark&abc&good&0&11", "end <= 10")])
def test_bad_annotations(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "Annotations.txt"
    path.write_text(LINES + line)
    with pytest.raises(InputError, match=words) as caught:
        read_annotations(path)
    assert f"{path}:4" in str(caught.value)


def test_annotation_files_that_are_none(tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("binary", b"\xff\xfe\x00")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            read_annotations(tmp_path / name)
    with pytest.raises(InputError, match="absent"):
        read_annotations(tmp_path / "absent")


def test_folder(root: Path) -> None:
    source = AveFolder(root)
    assert [c.video for c in source.clips] == ["RUhOCu3LNXM", "-pyreSm_sQs"]  # of the third nothing is there
    bell, baby = source[0], source[1]
    assert (bell.target.label, bell.scene, bell.audio_rate_hz) == (0, "outdoor", 44100)
    assert (baby.target.label, baby.scene, baby.audio_rate_hz) == (19, "indoor", None)
    assert [bell.readings[SensorKey(f"frame{i}", RGB)][0, 0].tolist() for i in (1, 8)] == [[10, 0, 0], [80, 0, 0]]
    sound = bell.readings[SensorKey("frame1", AUDIO)]
    assert (sound.shape, sound.dtype) == ((441000, 1), np.float32)
    assert np.abs(sound).max() == pytest.approx(0.5, abs=1e-3)
    assert {k.modality for k in baby.readings} == {RGB}


def test_to_the_network(root: Path) -> None:
    sample = AveFolder(root)[0].sample(preset("ave"))
    assert sample.present[RGB].all()
    assert sample.present[AUDIO].tolist() == [True] + [False] * 7
    mel = sample.inputs[AUDIO][0, 0]
    assert mel.shape == (128, 1024)
    # the tone of 1 kHz, whatever the rate of the file: mel(1000 Hz) is 999.99 of 2840 at 8 kHz
    assert int(mel[:, 500].argmax()) == pytest.approx(128 * 1000 / 2840, abs=4)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_widths(tmp_path: Path, width: int, channels: int) -> None:
    samples = np.linspace(-1, 0.99, 200 * channels).reshape(-1, channels)
    write_wav(tmp_path / "x.wav", samples, width, 22050)
    sound, rate_hz = read_sound(tmp_path / "x.wav")
    assert (sound.shape, sound.dtype, rate_hz) == (samples.shape, np.float32, 22050)
    assert np.abs(sound - samples).max() <= 0.51 / 2 ** (8 * width - 1) + 1e-7


def test_bad_wavs(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    write_wav(path, np.zeros((1000, 1)))
    whole = path.read_bytes()
    compressed = bytearray(whole)
    compressed[20:22] = (85).to_bytes(2, "little")  # MP3 in a WAV
    write_wav(path, np.zeros((0, 1)))
    for content in (b"", whole[:30], whole[:-500], bytes(compressed), path.read_bytes(), b"fLaC" * 50):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.wav"):
            read_sound(path)
    with pytest.raises(InputError, match="absent"):
        read_sound(tmp_path / "absent.wav")


def test_bad_folders(root: Path) -> None:
    with pytest.raises(InputError, match="none of the clips"):
        AveFolder(root, data="Noised_Images")
    (root / "New_Data/RUhOCu3LNXM/3.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"3\.png"):
        AveFolder(root)[0]
    with pytest.raises(IndexError):
        AveFolder(root)[2]


# --- ADMN's caches -----------------------------------------------------------------------------------


def write_cache(folder: Path, number: int, noise: int, tensors: bool) -> np.ndarray:
    """Returns the pictures (8, 20, 30, 3) that the cache holds in normalized form."""
    rng = np.random.default_rng(number)
    pictures = rng.integers(0, 256, (8, 20, 30, 3)).astype(np.uint8)
    normalized = ((pictures / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).transpose(0, 3, 1, 2)
    fbank = np.full((1, 128, 1024), number / 10, np.float32)
    item = (fbank, normalized.astype(np.float32), 5)
    if tensors:
        item = (*(torch.from_numpy(np.ascontiguousarray(x)) for x in item[:2]), 5)
    (folder / f"{number}.pickle").write_bytes(pickle.dumps((item, noise)))
    return pictures


@pytest.mark.parametrize("tensors", [False, True])
def test_cache(tmp_path: Path, tensors: bool) -> None:
    pictures = [write_cache(tmp_path, n, n % 4, tensors) for n in range(11)]
    source = AveCache(tmp_path)
    assert len(source) == 11
    for n in (0, 1, 2, 3, 10):  # by number: 10 is after 9
        sample = source[n]
        assert sample.target.label == 5
        assert sample.target.corruption == {RGB: float(n % 4 in (2, 3)), AUDIO: float(n % 4 in (1, 3))}
        assert all(np.array_equal(sample.readings[SensorKey(f"frame{i + 1}", RGB)], pictures[n][i]) for i in range(8))
    full = source[3].sample(preset("ave"))
    assert full.inputs[AUDIO].shape == (8, 1, 128, 1024)
    assert torch.all(full.inputs[AUDIO][0] == 0.3)
    assert full.present[AUDIO].tolist() == [True] + [False] * 7
    assert full.present[RGB].all()
    narrow = preset("ave")
    audio = narrow.modalities[AUDIO]
    assert isinstance(audio.input, AudioInput)
    short = audio.model_copy(update={"input": audio.input.model_copy(update={"frames": 512})})
    with pytest.raises(InputError, match=r"frame1/audio: found .*1024"):
        source[0].sample(narrow.model_copy(update={"modalities": {**narrow.modalities, AUDIO: short}}))
    # A stored spectrogram is no sound, so there is nothing to corrupt.
    with pytest.raises(InputError, match="frame1/audio"):
        CorruptedSource(source, corruption_preset("ave-rain-noise"), 0)[0]
    assert CorruptedSource(source, corruption_preset("gdtm-blur"), 0)[0].tensors.keys() == source[0].tensors.keys()


def test_bad_caches(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no caches"):
        AveCache(tmp_path)
    fbank, images = np.zeros((1, 128, 1024), np.float32), np.zeros((8, 3, 4, 4), np.float32)
    for item in ((fbank, images, 3), ((fbank, images, 28), 0), ((fbank, images, 3), 4), ((fbank, images[:7], 3), 0),
                 ((fbank[:, :64], images, 3), 0), ((fbank, images.astype(int), 3), 0), {}, ((fbank, images, "x"), 0),
                 ((fbank, images, print), 0)):
        (tmp_path / "0.pickle").write_bytes(pickle.dumps(item))
        with pytest.raises(InputError, match=r"0\.pickle"):
            AveCache(tmp_path)[0]
