# SPDX-License-Identifier: Apache-2.0
"""Buffer of the last seconds of one microphone array, and resampling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from admn_ros.errors import InputError
from admn_ros.sample import MOST_CHANNELS

Sound = npt.NDArray[np.float32]

_NS = 1_000_000_000
_FOLLOW = 0.05
"""Gain with which the buffer's clock follows the stamps.

Jitter is averaged over about 20 chunks, and a drift of 100 ppm stays within a few milliseconds.
"""


@dataclass
class AudioStats:
    """Counters of one input since the start.

    Attributes:
        chunks: number of chunks received.
        gaps: number of gaps, which are zeros in the buffer.
        lost_samples: number of samples in the gaps.
        overlaps: number of chunks that repeated earlier samples.
        dropped_samples: number of repeated samples, which were dropped.
        resets: number of restarts, because a stamp jumped back or the rate or number of channels changed.
    """

    chunks: int = 0
    gaps: int = 0
    lost_samples: int = 0
    overlaps: int = 0
    dropped_samples: int = 0
    resets: int = 0


class AudioWindow:
    """Ring buffer of the last seconds of one input, indexed by sample count.

    The sample count is the clock within the buffer. Stamps relate it to time and reveal missing samples. A chunk whose
    stamp is within `tolerance_s` of the predicted one follows its predecessor directly, because stamps jitter and
    samples do not. A later chunk leaves a gap, which is filled with zeros. An earlier chunk overlaps; the samples that
    were already recorded are dropped from it. A stamp that jumps back by more than `jump_back_s`, or another rate or
    number of channels, restarts the buffer. `stats` counts all of this.

    The memory is that of twice `capacity_s`, whatever arrives.

    Args:
        capacity_s: length of the buffer in seconds.
        tolerance_s: tolerated deviation of a stamp in seconds.
        jump_back_s: step back of a stamp in seconds that restarts the buffer.

    Attributes:
        stats: counters of the input.

    Raises:
        InputError: a length is not positive.
    """

    def __init__(self, capacity_s: float, *, tolerance_s: float = 0.02, jump_back_s: float = 1.0) -> None:
        for field, value in (("capacity_s", capacity_s), ("tolerance_s", tolerance_s), ("jump_back_s", jump_back_s)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(field, value, "a positive number of seconds")
        self.stats = AudioStats()
        self._capacity_s = capacity_s
        self._tolerance_ns = round(tolerance_s * _NS)
        self._jump_back_ns = round(jump_back_s * _NS)
        self._rate = 0
        self._newest_ns = 0
        self._ring = _Ring(1, 1)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the recorded sound in Hz; 0 before the first chunk."""
        return self._rate

    def push(self, samples: Sound, stamp_ns: int, sample_rate: int) -> None:
        """Append a chunk.

        Args:
            samples: float32 (samples, channels).
            stamp_ns: time of the last sample.
            sample_rate: sample rate in Hz.

        Raises:
            InputError: the chunk is empty, not two-dimensional or transposed, or the rate is below 1.
        """
        if samples.ndim != 2 or 0 in samples.shape or samples.shape[1] > MOST_CHANNELS:
            raise InputError("samples", samples.shape,
                             f"(samples, channels), not empty, at most {MOST_CHANNELS} channels")
        if sample_rate < 1:
            raise InputError("sample_rate", sample_rate, "at least 1")
        self.stats.chunks += 1
        if self._must_restart(samples.shape[1], stamp_ns, sample_rate):
            self._start(samples.shape[1], sample_rate)
            self._append(samples, stamp_ns)
            return
        expected_ns = self._newest_ns + self._ns(len(samples))
        late_ns = stamp_ns - expected_ns
        if late_ns > self._tolerance_ns:
            self._skip(late_ns)
        elif late_ns < -self._tolerance_ns:
            samples = self._without_overlap(samples, -late_ns)
        else:
            stamp_ns = expected_ns + round(_FOLLOW * late_ns)
        if len(samples):
            self._append(samples, stamp_ns)

    def window(self, end_ns: int, length_s: float, sample_rate: int | None = None) -> Sound:
        """Return a copy of the sound of a period, float32 (samples, channels).

        The period before the first sample and after the last one is filled with zeros. An end within the tolerance of
        the newest sample counts as the newest sample.

        Args:
            end_ns: end of the period.
            length_s: length of the period in seconds.
            sample_rate: sample rate in Hz to which the sound is resampled; None for the rate of the input.

        Raises:
            InputError: there was no chunk yet, or the period is longer than the buffer.
        """
        if not self._rate:
            raise InputError("audio", "no chunk so far", "a window after the first chunk")
        if not 0 < length_s <= self._capacity_s:
            raise InputError("length_s", length_s, f"above 0, at most {self._capacity_s}")
        ahead_ns = end_ns - self._newest_ns
        ahead = 0 if abs(ahead_ns) <= self._tolerance_ns else round(ahead_ns * self._rate / _NS)
        taken = self._ring.read(ahead, max(1, round(length_s * self._rate)))
        return taken if sample_rate is None else resample(taken, self._rate, sample_rate)

    def _must_restart(self, channels: int, stamp_ns: int, sample_rate: int) -> bool:
        if not self._rate:
            return True
        changed = sample_rate != self._rate or channels != self._ring.channels
        jumped = stamp_ns < self._newest_ns - self._jump_back_ns
        self.stats.resets += changed or jumped
        return changed or jumped

    def _start(self, channels: int, sample_rate: int) -> None:
        self._rate = sample_rate
        self._ring = _Ring(math.ceil(self._capacity_s * sample_rate) + 1, channels)

    def _append(self, samples: Sound, stamp_ns: int) -> None:
        self._ring.append(samples)
        self._newest_ns = stamp_ns

    def _skip(self, missing_ns: int) -> None:
        missing = round(missing_ns * self._rate / _NS)
        self.stats.gaps += 1
        self.stats.lost_samples += missing
        self._ring.skip(missing)

    def _without_overlap(self, samples: Sound, early_ns: int) -> Sound:
        again = min(len(samples), round(early_ns * self._rate / _NS))
        self.stats.overlaps += 1
        self.stats.dropped_samples += again
        return samples[again:]

    def _ns(self, samples: int) -> int:
        return round(samples * _NS / self._rate)


class _Ring:
    """The last `capacity` samples, a contiguous part of a buffer of twice the size."""

    def __init__(self, capacity: int, channels: int) -> None:
        self.channels = channels
        self._capacity = capacity
        self._buffer = np.zeros((2 * capacity, channels), np.float32)
        self._end = capacity  # The buffer begins with zeros.

    def append(self, samples: Sound) -> None:
        samples = samples[-self._capacity:]
        start = self._make_room(len(samples))
        self._buffer[start:self._end] = samples

    def skip(self, count: int) -> None:
        start = self._make_room(min(count, self._capacity))
        self._buffer[start:self._end] = 0.0

    def read(self, ahead: int, count: int) -> Sound:
        """Return a copy of `count` samples that end `ahead` samples after the newest one."""
        out = np.zeros((count, self.channels), np.float32)
        stop = self._end + ahead
        first, last = max(stop - count, self._end - self._capacity), min(stop, self._end)
        if first < last:
            out[first - stop + count:last - stop + count] = self._buffer[first:last]
        return out

    def _make_room(self, count: int) -> int:
        """Advance the end by `count` samples and return their start."""
        if self._end + count > len(self._buffer):
            keep = self._capacity - count
            self._buffer[:keep] = self._buffer[self._end - keep:self._end].copy()
            self._end = keep
        start = self._end
        self._end += count
        return start


def resample(samples: Sound, from_hz: int, to_hz: int) -> Sound:
    """Resample float32 (samples, channels) to (round(samples * to_hz / from_hz), channels).

    The spectrum is truncated or padded with zeros. This is exact below the lower Nyquist frequency, has no aliases, and
    works for any ratio. The recording is followed by its mirror image, to avoid a step between its ends. Rounding the
    length stretches the recording by at most half a sample.

    Args:
        samples: sound.
        from_hz: sample rate of the sound in Hz.
        to_hz: new sample rate in Hz.

    Raises:
        InputError: a rate is below 1.
    """
    for field, rate in (("from_hz", from_hz), ("to_hz", to_hz)):
        if rate < 1:
            raise InputError(field, rate, "at least 1")
    n = len(samples)
    m = round(n * to_hz / from_hz)
    if from_hz == to_hz or n == 0 or m == 0:
        return samples[:m]
    sound = torch.from_numpy(np.ascontiguousarray(samples.T))
    spectrum = torch.fft.rfft(torch.cat([sound, sound.flip(1)], dim=1))
    # The Nyquist bins are left out, because the phase of a real signal is ambiguous there.
    kept = spectrum.new_zeros(sound.shape[0], m + 1)
    kept[:, :min(n, m)] = spectrum[:, :min(n, m)]
    taken: Sound = (torch.fft.irfft(kept, 2 * m)[:, :m] * (m / n)).T.numpy()
    return taken
