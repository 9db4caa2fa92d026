# SPDX-License-Identifier: Apache-2.0
"""What is heard of the 28 events of AVE: tones and noise with the rhythm of each event.

The values are typical of these sources; the sounds are schematic. A sound is a row of bursts (or one that lasts): each
has harmonics of a gliding, trembling fundamental and a band of noise, under an envelope.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from admn_ros.simulation.scene.geometry import Floats

RATE_HZ = 16000
_QUIET = 0.002   # RMS of the noise of the recording
_TOP_HZ = 7600.0


@dataclass(frozen=True)
class Voice:
    """Sound of an event.

    Attributes:
        hz: lowest and highest fundamental.
        partials: amplitude of each harmonic; none for noise alone.
        stretch: ratio of neighbouring partials to harmonic ones: above 0 for bells.
        noise: RMS of the noise relative to the tones.
        band_hz: band of the noise.
        rate_hz: bursts per second; 0 for one lasting sound.
        attack_s, decay_s: rise and fall of a burst; a fall of 0 lasts until the next one.
        glide: relative change of the fundamental over a burst.
        vibrato: frequency in Hz and relative depth of the trembling of the pitch.
        tremolo: frequency in Hz and depth, 0 to 1, of the trembling of the level.
        wander: relative change of the pitch from burst to burst: a melody or an intonation.
    """

    hz: tuple[float, float] = (100.0, 200.0)
    partials: tuple[float, ...] = ()
    stretch: float = 0.0
    noise: float = 0.0
    band_hz: tuple[float, float] = (100.0, 4000.0)
    rate_hz: float = 0.0
    attack_s: float = 0.01
    decay_s: float = 0.0
    glide: float = 0.0
    vibrato: tuple[float, float] = (0.0, 0.0)
    tremolo: tuple[float, float] = (0.0, 0.0)
    wander: float = 0.0


def _falling(count: int, exponent: float) -> tuple[float, ...]:
    return tuple((k + 1.0) ** -exponent for k in range(count))


_VOICED = (1.0, 0.9, 0.7, 0.8, 0.5, 0.3, 0.25, 0.3, 0.15, 0.1)
_PLUCKED = _falling(12, 1.1)

VOICES: dict[str, Voice] = {
    "Church bell": Voice((180, 420), (1, 0.8, 0.6, 0.7, 0.4, 0.3), 0.09, 0.02, rate_hz=0.7, decay_s=1.4),
    "Male speech, man speaking": Voice((95, 140), _VOICED, 0, 0.15, (1500, 5000), 3.2, 0.04, 0.12, -0.1, wander=0.15),
    "Bark": Voice((350, 700), _falling(8, 0.8), 0, 0.6, (500, 4000), 1.8, 0.008, 0.06, -0.35),
    "Fixed-wing aircraft, airplane": Voice((70, 110), _falling(6, 1.5), 0, 1.6, (80, 1200), tremolo=(0.3, 0.3)),
    "Race car, auto racing": Voice((180, 380), _falling(14, 0.7), 0, 0.25, (400, 5000), 0.25, 0.8, 1.5, -0.4),
    "Female speech, woman speaking": Voice((190, 260), _VOICED, 0, 0.15, (2000, 6500), 3.6, 0.04, 0.1, -0.1,
                                           wander=0.15),
    "Helicopter": Voice((18, 26), _falling(3, 1), 0, 2.0, (60, 1800), tremolo=(13, 0.9)),
    "Violin, fiddle": Voice((300, 900), _falling(16, 0.9), 0, 0.05, (2000, 7000), 2.0, 0.08, 0.0, vibrato=(6, 0.012),
                            wander=0.25),
    "Flute": Voice((500, 1100), (1, 0.35, 0.12), 0, 0.12, (1000, 6000), 2.2, 0.06, 0.0, vibrato=(5, 0.005),
                   wander=0.25),
    "Ukulele": Voice((300, 600), _PLUCKED, 0, 0.03, rate_hz=3.5, attack_s=0.003, decay_s=0.18, wander=0.3),
    "Frying (food)": Voice(noise=1.0, band_hz=(2500, 7500), rate_hz=28, attack_s=0.002, decay_s=0.025),
    "Truck": Voice((28, 42), _falling(20, 0.8), 0, 0.5, (60, 700), tremolo=(14, 0.35)),
    "Shofar": Voice((280, 420), _falling(9, 0.6), 0, 0.1, (800, 4000), 0.6, 0.15, 0.0, 0.12),
    "Motorcycle": Voice((45, 85), _falling(24, 0.5), 0, 0.35, (200, 3000), 0.4, 0.5, 1.2, 0.35),
    "Acoustic guitar": Voice((90, 330), _PLUCKED, 0, 0.02, rate_hz=2.6, attack_s=0.004, decay_s=0.5, wander=0.3),
    "Train horn": Voice((260, 330), (1, 0.9, 0.8, 0.9, 0.6, 0.5), -0.06, 0.05, rate_hz=0.3, attack_s=0.1, decay_s=2.0),
    "Clock": Voice((1800, 2600), (1, 0.4), 0.2, 0.6, (2500, 7000), 2.0, 0.001, 0.012),
    "Banjo": Voice((250, 600), _falling(14, 0.7), 0, 0.08, rate_hz=7.5, attack_s=0.002, decay_s=0.09, wander=0.35),
    "Goat": Voice((260, 380), _VOICED, 0, 0.25, (1000, 5000), 0.8, 0.05, 0.5, -0.1, tremolo=(9, 0.7)),
    "Baby cry, infant cry": Voice((380, 560), _falling(9, 0.5), 0, 0.1, (1500, 6000), 0.9, 0.1, 0.45, 0.3,
                                  vibrato=(7, 0.02)),
    "Bus": Voice((32, 50), _falling(14, 1.2), 0, 0.9, (80, 500), 0.3, 0.8, 1.6, 0.15),
    "Chainsaw": Voice((95, 170), _falling(30, 0.3), 0, 0.5, (1500, 7000), tremolo=(3, 0.3), vibrato=(3, 0.08)),
    "Cat": Voice((480, 800), _falling(7, 0.7), 0, 0.08, (1500, 5000), 0.6, 0.2, 0.5, -0.25),
    "Horse": Voice((300, 500), (1, 0.3), 0.3, 0.9, (300, 2200), 4.5, 0.003, 0.035, wander=0.15),
    "Toilet flush": Voice(noise=1.0, band_hz=(150, 2800), rate_hz=0.12, attack_s=0.8, decay_s=3.5, tremolo=(5, 0.3)),
    "Rodents, rats, mice": Voice((3200, 5200), (1, 0.3), 0, 0.1, (3000, 7500), 2.4, 0.02, 0.05, 0.25, wander=0.2),
    "Accordion": Voice((220, 520), _falling(14, 0.45), 0, 0.03, rate_hz=1.8, attack_s=0.06, tremolo=(5, 0.15),
                       wander=0.3),
    "Mandolin": Voice((400, 900), _PLUCKED, 0, 0.05, rate_hz=13, attack_s=0.002, decay_s=0.06, wander=0.12),
}
"""Sound of each event, by its name in the annotations of AVE and in their order."""


def event_sound(name: str, start_s: float, end_s: float, seconds: float, rng: np.random.Generator) -> Floats:
    """Return the sound (seconds * `RATE_HZ`,) of an event, full scale 1, above the noise of the recording.

    Args:
        name: name of the event.
        start_s: time at which the event is first heard.
        end_s: time at which it ends.
        seconds: length of the sound.
        rng: generator of pitch, rhythm, level and noise.
    """
    voice, count = VOICES[name], round(seconds * RATE_HZ)
    t = np.arange(count) / RATE_HZ
    level, burst = _bursts(voice, t, start_s, end_s, rng)
    steps = rng.normal(0, voice.wander, int(burst.max()) + 1)
    since = _since(burst) / RATE_HZ
    length_s = max(voice.attack_s + voice.decay_s, 0.05) if voice.decay_s or not voice.rate_hz else 1 / voice.rate_hz
    pitch = (1 + steps)[burst] * (1 + voice.glide * np.clip(since / length_s, 0, 1))
    pitch *= 1 + voice.vibrato[1] * np.sin(2 * np.pi * voice.vibrato[0] * t)
    sound = _tones(voice, float(np.exp(rng.uniform(*np.log(voice.hz)))) * np.clip(pitch, 0.4, 2.5))
    if voice.noise:
        sound = sound + (voice.noise if voice.partials else 1.0) * _band(count, voice.band_hz, rng)
    shaken = 1 - voice.tremolo[1] * (0.5 + 0.5 * np.sin(2 * np.pi * voice.tremolo[0] * rng.uniform(0.8, 1.25) * t))
    sound = sound * level * shaken
    loudness = float(np.exp(rng.uniform(np.log(0.03), np.log(0.2))))
    sound *= loudness / max(float(np.sqrt(np.mean(sound[level > 0] ** 2))) if (level > 0).any() else 1.0, 1e-9)
    heard: Floats = np.clip(sound + rng.normal(0, _QUIET, count), -1, 1)
    return heard


def _bursts(voice: Voice, t: Floats, start_s: float, end_s: float,
            rng: np.random.Generator) -> tuple[Floats, np.typing.NDArray[np.int64]]:
    """Return the envelope of all bursts, and the number of the latest burst of each sample."""
    if voice.rate_hz:
        mean_s = 1 / (voice.rate_hz * rng.uniform(0.75, 1.3))
        gaps = rng.gamma(8, mean_s / 8, 1 + int(3 * len(t) / RATE_HZ * voice.rate_hz))
        starts = start_s + np.concatenate([[0.0], np.cumsum(gaps)])
        starts = starts[starts < end_s]
    else:
        starts = np.array([start_s])
    burst = np.clip(np.searchsorted(starts, t, side="right") - 1, 0, None)
    age = t - starts[burst]
    level = np.clip(age / voice.attack_s, 0, 1)
    if voice.decay_s:
        level = level * np.exp(-np.clip(age - voice.attack_s, 0, None) / voice.decay_s)
    level[(t < start_s) | (t >= end_s)] = 0.0
    return level, burst


def _since(burst: np.typing.NDArray[np.int64]) -> Floats:
    """Return the number of samples since the start of each sample's burst."""
    place = np.arange(len(burst))
    first: Floats = np.searchsorted(burst, burst, side="left").astype(np.float64)
    return place - first


def _tones(voice: Voice, hz: Floats) -> Floats:
    """Return the sum of the partials at a fundamental (N,), of RMS 1; silence without partials."""
    turn = 2 * np.pi * np.cumsum(hz) / RATE_HZ
    sound = np.zeros(len(hz))
    for number, amplitude in enumerate(voice.partials):
        ratio = (number + 1) * (1 + voice.stretch * number)
        if ratio * float(hz.mean()) < _TOP_HZ:
            sound += amplitude * np.sin(ratio * turn + number)
    strength = float(np.sqrt(np.mean(sound**2)))
    return sound / strength if strength else sound


def _band(count: int, band_hz: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Return noise (count,) of RMS 1 in a band."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    hz = np.fft.rfftfreq(count, 1 / RATE_HZ)
    low, high = band_hz
    spectrum *= 1 / (1 + (low / np.maximum(hz, 1e-3)) ** 4) / (1 + (hz / high) ** 4)
    noise = np.fft.irfft(spectrum, count)
    shaped: Floats = noise / noise.std()
    return shaped
