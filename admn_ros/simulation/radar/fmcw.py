# SPDX-License-Identifier: Apache-2.0
"""An FMCW radar like TI's IWR1443: beat signal of a frame, and its processing.

A frame is `loops` times two chirps, one per transmitter (time-division MIMO): with four receivers, eight virtual
antennas half a wavelength apart. The beat signal (samples, loops, antennas) is the coherent sum of all echoes, which
gives speckle, plus transmitter leakage, phase noise and receiver noise. Windowed FFTs over samples, loops and antennas
give range, radial velocity and azimuth, as in TI's firmware. Static echoes are computed once per radar. The range bin
of a target is constant within a frame (7 ms), an error of at most 0.7 cm at 2 m/s, a sixth of a bin.

Frames and signs: points and azimuths are in the radar frame of the node (REP-103: x forward, y left; TI's has x right,
y forward). Azimuth is positive to the left. Radial velocity is positive for receding targets, as TI's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.simulation.radar.echoes import Echoes, car_echoes, clutter_echoes, hidden
from admn_ros.simulation.radar.points import Cfar, detect
from admn_ros.simulation.scene.car import CarState
from admn_ros.simulation.scene.geometry import Box, Floats
from admn_ros.simulation.scene.scene import Scene
from admn_ros.simulation.scene.sensor_node import SensorNode

LIGHT_MPS = 299792458.0
TRANSMITTERS, RECEIVERS = 2, 4
ANTENNAS = TRANSMITTERS * RECEIVERS
_LEAKAGE_BIN = 2.0   # delay of antennas and cables; at zero it would appear in the last rows, too

Complexes = npt.NDArray[np.complex64] | npt.NDArray[np.complex128]
Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FmcwConfig:
    """Chirp, antennas and imperfections. The names follow TI's profile and frame configuration.

    By default, 70 MHz/us over 256 samples at 5.2 Msps sweep 3.45 GHz: range bins are 4.35 cm and reach 11.1 m. 16 loops
    of 2 x 205 us resolve 0.29 m/s and span -2.3 to 2.0 m/s without folding.

    Attributes:
        start_hz: frequency at the start of the ramp.
        slope_hz_per_s: slope of the ramp.
        sample_rate_hz: ADC sampling rate.
        samples: ADC samples per chirp: rows of the range-Doppler map.
        adc_start_s: time from the start of the ramp to the first sample.
        chirp_s: duration of a chirp with its idle time; a loop is two chirps.
        loops: chirps per transmitter in a frame: columns of the range-Doppler map.
        azimuth_bins: size of the azimuth FFT.
        azimuth_6db_rad: azimuth at which the gain of one antenna is -6 dB.
        elevation_6db_rad: likewise, elevation. It is wider than the 20 degrees of the evaluation board, because the
            nodes hold the radar level above the track.
        phase_noise_rad: standard deviation from chirp to chirp; it smears strong echoes over velocity.
        leakage: amplitude of the leakage from transmitter to receiver, in units of receiver noise.
        noise: whether there is receiver noise.
        clutter: whether there are static echoes of the room.
        static_only: whether the range-azimuth heatmap is of zero velocity alone, as TI's azimuth-static heatmap, in
            which moving targets are almost invisible. Otherwise it sums the power of all velocities.
        cfar: detection of points.
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
        """Wavelength at the middle of the sampled sweep; the antennas are half a wavelength apart."""
        middle_s = self.adc_start_s + self.samples / self.sample_rate_hz / 2
        return LIGHT_MPS / (self.start_hz + self.slope_hz_per_s * middle_s)

    @property
    def range_step_m(self) -> float:
        """Range between two rows: c / 2B."""
        return LIGHT_MPS / (2 * self.slope_hz_per_s * self.samples / self.sample_rate_hz)

    @property
    def velocity_step_mps(self) -> float:
        """Velocity between two columns of the range-Doppler map; the Hann window makes a target three columns wide."""
        return self.wavelength_m / (2 * self.loops * TRANSMITTERS * self.chirp_s)

    def sine_of_column(self) -> Floats:
        """Return the sine of azimuth, y / range, of each column (azimuth_bins,) of the range-azimuth map: +1 to -1.

        An array along y measures the angle to its own axis: for a target above or below the plane of the radar, the
        sine is that of its azimuth times the cosine of its elevation.
        """
        return 1.0 - (2 * np.arange(self.azimuth_bins) + 1.0) / self.azimuth_bins

    def velocity_of_column(self) -> Floats:
        """Return the radial velocity in m/s of each column (loops,) of the range-Doppler map, positive if receding.

        Column loops / 2 is zero. Velocities beyond the span alias to the other side.
        """
        return (np.arange(self.loops, dtype=np.float64) - self.loops // 2) * self.velocity_step_mps


@dataclass(frozen=True)
class RadarReading:
    """One radar frame. Magnitudes are linear, in units of the RMS of the receiver noise in their map.

    Attributes:
        range_azimuth: float32 (samples, azimuth_bins).
        range_doppler: float32 (samples, loops), RMS over the antennas (TI sends its log2).
        points: float32 (P, 5): x, y, z in the radar frame (m), radial velocity (m/s), SNR (dB). z is 0, because there
            is no elevation without TI's third transmitter; x and y hold the slant range.
    """

    range_azimuth: Image
    range_doppler: Image
    points: Image


class FmcwRadar:
    """The radar of one node in a scene."""

    def __init__(self, scene: Scene, node: SensorNode, config: FmcwConfig | None = None) -> None:
        self.config = config or FmcwConfig()
        self._pose = node.sensor("radar")
        none = Echoes.still(np.zeros((0, 3)), np.zeros(0))
        self._still = clutter_echoes(scene, node) if self.config.clutter else none
        # The coupling of the antennas is a property of the device, so it depends on the name of the node alone.
        rng = np.random.default_rng([7, *node.name.encode()])
        self._coupling = rng.rayleigh(1, ANTENNAS) * np.exp(2j * np.pi * rng.random(ANTENNAS))

    @property
    def position_m(self) -> Floats:
        """Position (3,) in `map`."""
        return self._pose.translation_m

    def measure(self, car: CarState | None, velocity_mps: Floats | None, rng: np.random.Generator,
                others: Echoes | None = None, blocking: Sequence[Box] = ()) -> RadarReading:
        """Measure one frame.

        Args:
            car: state of the car in the middle of the frame; None without a car.
            velocity_mps: velocity of the car (2,) in `map`; None for its speed along its heading.
            rng: generator of noise, phase noise and the rotation of the wheels.
            others: further echoes, of anything else that moves; none that `blocking` hides.
            blocking: boxes that move and hide the car and the room behind them.
        """
        cube = self._spectrum(self._beat(car, velocity_mps, rng, others, blocking))
        power = np.mean(cube.real**2 + cube.imag**2, axis=2)
        straight = self._undo_time_division(cube)
        points = detect(power, straight, self.config.cfar, self.config.range_step_m, self.config.velocity_step_mps)
        return RadarReading(self._range_azimuth(straight), np.sqrt(power).astype(np.float32), points)

    def _beat(self, car: CarState | None, velocity_mps: Floats | None, rng: np.random.Generator,
              others: Echoes | None, blocking: Sequence[Box]) -> Complexes:
        """Return the beat signal (samples, loops, antennas), complex64, with noise of RMS 1."""
        c = self.config
        beat = np.zeros((c.samples, c.loops, ANTENNAS), np.complex64)
        if c.noise:
            # NumPy draws float32 twice as fast, and the noise takes half of the time of a frame.
            draws = rng.standard_normal((c.samples, c.loops, ANTENNAS * 2), np.float32)
            draws *= np.float32(np.sqrt(0.5))
            beat = draws.view(np.complex64)
        jitter = np.exp(1j * c.phase_noise_rad * rng.standard_normal((c.loops, TRANSMITTERS))).repeat(RECEIVERS, axis=1)
        if car is not None:
            if velocity_mps is None:
                velocity_mps = float(car.speed_mps) * np.array([np.cos(car.heading_rad), np.sin(car.heading_rad)])
            echoes = car_echoes(car, velocity_mps, self.position_m, rng)
            beat += self._signal(echoes.at(~hidden(blocking, self.position_m, echoes.position_m)), jitter)
        if others is not None:
            beat += self._signal(others, jitter)
        beat += self._still_beat_past(blocking)[:, None, :] * jitter.astype(np.complex64)
        return beat

    def _still_beat_past(self, blocking: Sequence[Box]) -> Complexes:
        """Return `_still_beat` without what boxes hide."""
        if not blocking:
            return self._still_beat
        tones, channels = self._factors(self._still.at(hidden(blocking, self.position_m, self._still.position_m)))
        seen: Complexes = self._still_beat - _product(tones, channels[:, 0, :]).astype(np.complex64)
        return seen

    def _signal(self, echoes: Echoes, jitter: Complexes) -> Complexes:
        """Return the sum of the beat signals of echoes (samples, loops, antennas), complex64."""
        tones, channels = self._factors(echoes)
        # NumPy cannot infer a dimension of an array without elements, and there may be no echo.
        across = (channels * jitter).reshape(len(channels), self.config.loops * ANTENNAS)
        signal = _product(tones.astype(np.complex64), across.astype(np.complex64))
        return signal.reshape(-1, self.config.loops, ANTENNAS)

    def _factors(self, echoes: Echoes) -> tuple[Complexes, Complexes]:
        """Return the factors of the beat signals: tones over the samples (samples, N), phasors (N, loops, antennas)."""
        c = self.config
        local = self._pose.into(echoes.position_m)
        reach = np.maximum(np.linalg.norm(local, axis=1), 0.05)
        speed = np.einsum("ij,ij->i", echoes.velocity_mps @ self._pose.rotation, local) / reach
        sine = local[:, 1] / reach
        # Range bin and phase are both those at the middle of the sampled sweep.
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
        """Return the two-way gain of the antennas towards points (N, 3) in the radar frame; 1 on the axis."""
        azimuth = np.arctan2(local[:, 1], local[:, 0])
        elevation = np.arctan2(local[:, 2], np.hypot(local[:, 0], local[:, 1]))
        off = (azimuth / self.config.azimuth_6db_rad) ** 2 + (elevation / self.config.elevation_6db_rad) ** 2
        two_way: Floats = np.where(local[:, 0] > 0, np.exp2(-2 * off), 0.0)
        return two_way

    @cached_property
    def _still_beat(self) -> Complexes:
        """Beat signal of clutter and leakage (samples, antennas), the same in every chirp."""
        tones, channels = self._factors(self._still)
        leak = np.exp(2j * np.pi * np.arange(self.config.samples) / self.config.samples * _LEAKAGE_BIN)
        beat: Complexes = _product(tones, channels[:, 0, :]) + self.config.leakage * leak[:, None] * self._coupling
        return beat.astype(np.complex64)

    def _spectrum(self, beat: Complexes) -> Complexes:
        """Compute range and Doppler FFTs (samples, loops, antennas), zero velocity in the middle, noise of RMS 1."""
        over_range, over_doppler = self._windows
        profiles = np.fft.fft(beat * over_range[:, None, None], axis=0) * over_doppler[:, None]
        profiles *= self._receiver[:, None, None]
        cube: Complexes = np.fft.fft(profiles, axis=1)
        return cube

    @cached_property
    def _windows(self) -> tuple[Floats, Floats]:
        """Hann windows of unit energy over samples and loops; signs of the second put zero velocity in the middle."""
        c = self.config
        windows = []
        for n in (c.samples, c.loops):
            hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
            windows.append((hann / np.sqrt(np.sum(hann**2))).astype(np.float32))
        return windows[0], windows[1] * np.float32(-1) ** np.arange(c.loops, dtype=np.float32)

    @cached_property
    def _receiver(self) -> Image:
        """Gain (samples,) of the intermediate-frequency filter, whose edge attenuates the last rows, as in GDTM."""
        edge = np.clip((np.arange(self.config.samples) / self.config.samples - 0.94) / 0.03, 0, 1)
        return (1 - 0.6 * edge).astype(np.float32)

    def _undo_time_division(self, cube: Complexes) -> Complexes:
        """Compensate, for each velocity, the motion of a target between the chirps of the two transmitters."""
        c = self.config
        turn = 4 * np.pi / c.wavelength_m * c.velocity_of_column() * c.chirp_s
        second = np.arange(ANTENNAS) >= RECEIVERS
        straight: Complexes = cube * np.exp(-1j * turn[:, None] * second).astype(np.complex64)
        return straight

    def _range_azimuth(self, cube: Complexes) -> Image:
        """Return the azimuth spectrum (samples, azimuth_bins) of all velocities, or of zero velocity alone."""
        c = self.config
        if c.static_only:
            cube = cube[:, c.loops // 2, None]
        # Power over azimuth is the transform of the antennas' correlations, 8 in place of `loops` spectra. Double
        # precision, because it subtracts large numbers beside a strong echo.
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
        """Steering vectors (antennas, azimuth_bins)."""
        steering: Complexes = np.exp(1j * np.pi * np.arange(ANTENNAS)[:, None] * self.config.sine_of_column())
        return steering


def _product(a: Complexes, b: Complexes) -> Complexes:
    """Return the matrix product; unlike that of BLAS, its rounding does not depend on the number of threads."""
    product: Complexes = np.einsum("ij,jk->ik", a, b)
    return product
