# SPDX-License-Identifier: Apache-2.0
"""An FMCW radar of the size of TI's IWR1443: beat signal of a frame, and what the chip makes of it.

A frame is `loops` times two chirps, one per transmitter (time-division MIMO): with four receivers, eight
virtual antennas half a wavelength apart. The beat signal (samples, loops, antennas) is the coherent sum of
all echoes, which gives speckle, plus transmitter leakage, phase noise and receiver noise; windowed FFTs
over samples, loops and antennas give range, radial velocity and azimuth, as TI's firmware does it.
What stands still is computed once per radar. Within a frame (7 ms) a target's range bin is held still,
which at 2 m/s is wrong by 0.7 cm either way, a sixth of a bin.

Frames and signs: points and azimuths are in the node's radar frame (REP-103: x forward, y to the left; TI's
own has x right, y forward). Azimuth is positive to the left. Radial velocity is positive going away, as TI's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.simulation.radar.echoes import Echoes, car_echoes, clutter_echoes
from admn_ros.simulation.radar.points import Cfar, detect
from admn_ros.simulation.scene.car import CarState
from admn_ros.simulation.scene.geometry import Floats
from admn_ros.simulation.scene.scene import Scene
from admn_ros.simulation.scene.sensor_node import SensorNode

LIGHT_MPS = 299792458.0
TRANSMITTERS, RECEIVERS = 2, 4
ANTENNAS = TRANSMITTERS * RECEIVERS
_LEAKAGE_BIN = 2.0   # delay of antennas and cables; at zero it would show in the last rows too

Complexes = npt.NDArray[np.complex64] | npt.NDArray[np.complex128]
Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FmcwConfig:
    """Chirp, antennas and imperfections. The names are those of TI's profile and frame configuration.

    By default: 70 MHz/us over 256 samples at 5.2 Msps sweep 3.45 GHz, so range bins are 4.35 cm and reach
    11.1 m; 16 loops of 2 x 205 us resolve 0.29 m/s and span -2.3 to 2.0 m/s without folding.

    samples, loops: ADC samples per chirp and chirps per transmitter in a frame: rows and columns of
        the range-Doppler map.
    adc_start_s: from the ramp's start to the first sample.
    chirp_s: one chirp with its idle time; a loop is two of them.
    azimuth_bins: size of the azimuth FFT.
    azimuth_6db_rad, elevation_6db_rad: off the axis by this much, one antenna is 6 dB down. Elevation
        is wider than the evaluation board's +-20 degrees: our nodes hold the radar level and look down.
    phase_noise_rad: standard deviation from chirp to chirp; it smears strong echoes over velocity.
    leakage: amplitude of what leaks from transmitter to receiver, in units of receiver noise.
    noise, clutter: with receiver noise; with what stands still in the room.
    static_only: the range-azimuth heatmap from zero velocity alone, as TI's azimuth-static heatmap. What
        moves is then all but invisible. Otherwise from all velocities, power summed.
    """

    start_hz: float = 77e9
    slope_hz_per_s: float = 70e12
    sample_rate_hz: float = 5.2e6
    samples: int = 256
    adc_start_s: float = 7e-6
    chirp_s: float = 205e-6
    loops: int = 16
    azimuth_bins: int = 64
    azimuth_6db_rad: float = np.pi / 3
    elevation_6db_rad: float = np.deg2rad(40)
    phase_noise_rad: float = 0.008
    leakage: float = 6.0
    noise: bool = True
    clutter: bool = True
    static_only: bool = False
    cfar: Cfar = field(default_factory=Cfar)

    def __post_init__(self) -> None:
        for name in ("samples", "loops", "azimuth_bins"):
            value = getattr(self, name)
            if value < ANTENNAS or value % 2:
                raise InputError(name, value, f"an even number from {ANTENNAS} on")
        ramp_s = self.adc_start_s + self.samples / self.sample_rate_hz
        if self.chirp_s < ramp_s:
            raise InputError("chirp_s", self.chirp_s, f"at least the ramp's {ramp_s:.3g} s")

    @property
    def wavelength_m(self) -> float:
        """At the middle of the sampled sweep; the antennas are half of it apart."""
        middle_s = self.adc_start_s + self.samples / self.sample_rate_hz / 2
        return LIGHT_MPS / (self.start_hz + self.slope_hz_per_s * middle_s)

    @property
    def range_step_m(self) -> float:
        """Between rows: c / 2B."""
        return LIGHT_MPS / (2 * self.slope_hz_per_s * self.samples / self.sample_rate_hz)

    @property
    def velocity_step_mps(self) -> float:
        """Between columns of the range-Doppler map; the Hann window makes a target three columns wide."""
        return self.wavelength_m / (2 * self.loops * TRANSMITTERS * self.chirp_s)

    def sine_of_column(self) -> Floats:
        """Sine of azimuth, y / range, of each column (azimuth_bins,) of the range-azimuth map: +1 (left) to -1.

        An array along y measures the angle to its own axis: of a target above or below the radar's plane
        the sine is smaller than that of its compass direction by the cosine of its elevation.
        """
        return 1.0 - (2 * np.arange(self.azimuth_bins) + 1.0) / self.azimuth_bins

    def velocity_of_column(self) -> Floats:
        """Radial velocity in m/s of each column (loops,) of the range-Doppler map, positive going away.

        Column loops / 2 is zero. What is faster than the span folds over to the other side.
        """
        return (np.arange(self.loops, dtype=np.float64) - self.loops // 2) * self.velocity_step_mps


@dataclass(frozen=True)
class RadarReading:
    """One frame. Magnitudes are linear, in units of the receiver noise's RMS in their own map.

    range_azimuth: float32 (samples, azimuth_bins).
    range_doppler: float32 (samples, loops), RMS over the antennas. (TI sends its log2.)
    points: float32 (P, 5): x, y, z in the radar's frame (m), radial velocity (m/s), SNR (dB). z is 0:
        without TI's third transmitter there is no elevation, and x, y hold the slant range.
    """

    range_azimuth: Image
    range_doppler: Image
    points: Image


class FmcwRadar:
    """The radar of one node in a scene."""

    def __init__(self, scene: Scene, node: SensorNode, config: FmcwConfig | None = None) -> None:
        self.config = config or FmcwConfig()
        self._pose = node.sensor("radar")
        nothing = Echoes.still(np.zeros((0, 3)), np.zeros(0))
        self._still = clutter_echoes(scene, node) if self.config.clutter else nothing
        # Antennas couple differently; it is a property of the device, so of the node's name alone.
        rng = np.random.default_rng([7, *node.name.encode()])
        self._coupling = rng.rayleigh(1, ANTENNAS) * np.exp(2j * np.pi * rng.random(ANTENNAS))

    def measure(self, car: CarState | None, velocity_mps: Floats | None, rng: np.random.Generator) -> RadarReading:
        """One frame, its middle at the instant of `car`.

        Args:
            car: where the car is: position_m (2,), heading_rad (), speed_mps (); None if there is none.
            velocity_mps: (2,) in `map`; None for the car's speed along its heading.
            rng: of noise, phase noise and the tyres' turn.
        """
        cube = self._spectrum(self._beat(car, velocity_mps, rng))
        power = np.mean(cube.real**2 + cube.imag**2, axis=2)
        straight = self._undo_time_division(cube)
        points = detect(power, straight, self.config.cfar, self.config.range_step_m, self.config.velocity_step_mps)
        return RadarReading(self._range_azimuth(straight), np.sqrt(power).astype(np.float32), points)

    def _beat(self, car: CarState | None, velocity_mps: Floats | None, rng: np.random.Generator) -> Complexes:
        """Beat signal (samples, loops, antennas), complex64; noise of RMS 1."""
        c = self.config
        beat = np.zeros((c.samples, c.loops, ANTENNAS), np.complex64)
        if c.noise:
            # float32: NumPy draws it twice as fast, and it is half of the time of a reading.
            draws = rng.standard_normal((c.samples, c.loops, ANTENNAS * 2), np.float32)
            draws *= np.float32(np.sqrt(0.5))
            beat = draws.view(np.complex64)
        jitter = np.exp(1j * c.phase_noise_rad * rng.standard_normal((c.loops, TRANSMITTERS))).repeat(RECEIVERS, axis=1)
        if car is not None:
            if velocity_mps is None:
                velocity_mps = float(car.speed_mps) * np.array([np.cos(car.heading_rad), np.sin(car.heading_rad)])
            beat += self._signal(car_echoes(car, velocity_mps, self._pose.translation_m, rng), jitter)
        beat += self._still_beat[:, None, :] * jitter.astype(np.complex64)
        return beat

    def _signal(self, echoes: Echoes, jitter: Complexes) -> Complexes:
        """Sum of the echoes' beat signals (samples, loops, antennas), complex64."""
        tones, channels = self._factors(echoes)
        across = channels.reshape(-1, self.config.loops, ANTENNAS) * jitter
        signal = tones.astype(np.complex64) @ across.reshape(len(tones.T), -1).astype(np.complex64)
        return signal.reshape(-1, self.config.loops, ANTENNAS)

    def _factors(self, echoes: Echoes) -> tuple[Complexes, Complexes]:
        """A beat signal is a product: tone over the samples (samples, N), phasor (N, loops, antennas)."""
        c = self.config
        local = self._pose.into(echoes.position_m)
        reach = np.maximum(np.linalg.norm(local, axis=1), 0.05)
        speed = np.einsum("ij,ij->i", echoes.velocity_mps @ self._pose.rotation, local) / reach
        sine = local[:, 1] / reach
        # The range's bin and its phase are both taken at the middle of the sampled sweep.
        place = (np.arange(c.samples) - c.samples / 2) / c.samples
        tones = np.exp(2j * np.pi * place[:, None] * (reach / c.range_step_m))
        antenna = np.arange(ANTENNAS)
        late = antenna // RECEIVERS * c.chirp_s
        when = (np.arange(c.loops) - c.loops / 2)[:, None] * TRANSMITTERS * c.chirp_s + late
        travelled = reach[:, None, None] + speed[:, None, None] * when
        phase = 4 * np.pi / c.wavelength_m * travelled - np.pi * antenna * sine[:, None, None]
        strength = echoes.amplitude * self._pattern(local) / reach**2
        return tones, strength[:, None, None] * np.exp(1j * phase)

    def _pattern(self, local: Floats) -> Floats:
        """Two-way amplitude of the antennas towards points (N, 3) in the radar's frame; 1 on the axis."""
        azimuth = np.arctan2(local[:, 1], local[:, 0])
        elevation = np.arctan2(local[:, 2], np.hypot(local[:, 0], local[:, 1]))
        off = (azimuth / self.config.azimuth_6db_rad) ** 2 + (elevation / self.config.elevation_6db_rad) ** 2
        two_way: Floats = np.where(local[:, 0] > 0, np.exp2(-2 * off), 0.0)
        return two_way

    @cached_property
    def _still_beat(self) -> Complexes:
        """Beat signal of clutter and leakage (samples, antennas): the same in every chirp."""
        tones, channels = self._factors(self._still)
        leak = np.exp(2j * np.pi * np.arange(self.config.samples) / self.config.samples * _LEAKAGE_BIN)
        beat: Complexes = tones @ channels[:, 0, :] + self.config.leakage * leak[:, None] * self._coupling
        return beat.astype(np.complex64)

    def _spectrum(self, beat: Complexes) -> Complexes:
        """Range and Doppler FFTs (samples, loops, antennas), zero velocity in the middle, noise of RMS 1."""
        over_range, over_doppler = self._windows
        profiles = np.fft.fft(beat * over_range[:, None, None], axis=0) * over_doppler[:, None]
        profiles *= self._receiver[:, None, None]
        cube: Complexes = np.fft.fft(profiles, axis=1)
        return cube

    @cached_property
    def _windows(self) -> tuple[Floats, Floats]:
        """Hann windows over samples and loops, each of unit energy.

        Signs of the second put zero velocity in the middle.
        """
        c = self.config
        ours = []
        for n in (c.samples, c.loops):
            hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
            ours.append((hann / np.sqrt(np.sum(hann**2))).astype(np.float32))
        return ours[0], ours[1] * np.float32(-1) ** np.arange(c.loops, dtype=np.float32)

    @cached_property
    def _receiver(self) -> Image:
        """Gain (samples,) of the intermediate-frequency filter: its edge darkens the last rows, as in GDTM."""
        edge = np.clip((np.arange(self.config.samples) / self.config.samples - 0.94) / 0.03, 0, 1)
        return (1 - 0.6 * edge).astype(np.float32)

    def _undo_time_division(self, cube: Complexes) -> Complexes:
        """Turn back what a target moves between the two transmitters' chirps, velocity by velocity."""
        c = self.config
        turn = 4 * np.pi / c.wavelength_m * c.velocity_of_column() * c.chirp_s
        second = np.arange(ANTENNAS) >= RECEIVERS
        straight: Complexes = cube * np.exp(-1j * turn[:, None] * second).astype(np.complex64)
        return straight

    def _range_azimuth(self, cube: Complexes) -> Image:
        """Azimuth spectrum (samples, azimuth_bins) of all velocities together, or of zero alone."""
        c = self.config
        if c.static_only:
            cube = cube[:, c.loops // 2, None]
        # Power over azimuth is the transform of the antennas' correlations: 8 of them in place of `loops`
        # spectra. In double precision, for it subtracts large numbers beside a strong echo.
        cube = cube.astype(np.complex128)
        both = np.matmul(cube.transpose(0, 2, 1), cube.conj())
        lags = np.stack([np.trace(both, offset=-k, axis1=1, axis2=2) for k in range(ANTENNAS)], axis=1)
        lags[:, 1:] *= 2
        power = lags.real @ self._steering.real - lags.imag @ self._steering.imag
        scale = 1 / (ANTENNAS * cube.shape[1])
        magnitude: Image = np.sqrt(np.maximum(power, 0) * scale).astype(np.float32)
        return magnitude

    @cached_property
    def _steering(self) -> Complexes:
        """Phasors (antennas, azimuth_bins)."""
        steering: Complexes = np.exp(1j * np.pi * np.arange(ANTENNAS)[:, None] * self.config.sine_of_column())
        return steering
