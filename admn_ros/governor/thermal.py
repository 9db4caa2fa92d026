# SPDX-License-Identifier: Apache-2.0
"""How much heat a temperature leaves room for.

The law of Linux's power allocator (docs.kernel.org/driver-api/thermal/power_allocator.html):

    allowed = sustainable power + k_p * error + integral of k_i * error        error = target - temperature

with one gain above the target and another below it, and an integral that rests while it is far too cold. The
temperature in it follows the sensor with a play of `deadband_c`, so that a coarse or noisy sensor does not
shake the grant, and errors within the play do not add up.
"""

from __future__ import annotations

from admn_ros.governor.config import GovernorConfig


class ThermalController:
    """A PI controller from the hottest temperature to watts, and the latch of the critical temperature.

    Its integral never winds up: it does not rise beyond what the other limits let be spent, and does not
    fall beyond an allowance of nothing.
    """

    def __init__(self) -> None:
        self.integral_w = 0.0
        self.critical = False
        self._followed_c: float | None = None

    def allowed_w(self, config: GovernorConfig, temperature_c: float, dt_s: float, bound_w: float) -> float:
        """Watts of heat, all sources together, that the temperature allows.

        Monotone: a higher bound in the past or now never makes the result lower.

        Args:
            config: target and gains.
            temperature_c: finite, degrees Celsius.
            dt_s: seconds since the last call, at least 0.
            bound_w: the most that could be spent anyway, watts; the integral does not rise beyond it.

        Returns:
            Range [0, inf) watts.
        """
        self._latch(config, temperature_c)
        error_c = config.target_c - self._follow(temperature_c, config.deadband_c)
        proportional_w = config.sustainable_w + (config.k_po if error_c < 0 else config.k_pu) * error_c
        if config.deadband_c < abs(error_c) and error_c <= config.integral_cutoff_c:
            change_w = config.k_i * error_c * dt_s
            if change_w > 0:
                room_w = bound_w - proportional_w
                self.integral_w = max(self.integral_w, min(self.integral_w + change_w, room_w))
            else:
                self.integral_w = min(self.integral_w, max(self.integral_w + change_w, -proportional_w))
        return max(0.0, proportional_w + self.integral_w)

    def _follow(self, temperature_c: float, play_c: float) -> float:
        last_c = temperature_c if self._followed_c is None else self._followed_c
        self._followed_c = min(max(last_c, temperature_c - play_c), temperature_c + play_c)
        return self._followed_c

    def _latch(self, config: GovernorConfig, temperature_c: float) -> None:
        if temperature_c >= config.limit_c:
            self.critical = True
        elif temperature_c < config.limit_c - config.release_c:
            self.critical = False
