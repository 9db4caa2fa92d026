# SPDX-License-Identifier: Apache-2.0
"""Allowed heat by temperature.

The control law of the power allocator of Linux (docs.kernel.org/driver-api/thermal/power_allocator.html):

    allowed = sustainable power + k_p * error + integral of k_i * error        error = target - temperature

with one gain above the target and another below it. The integral rests far below the target. The temperature follows
the sensor with a backlash of `deadband_c`, so that a coarse or noisy sensor does not make the grant oscillate, and the
integral rests for errors within it.
"""

from __future__ import annotations

from admn_ros.governor.config import GovernorConfig


class ThermalController:
    """PI controller from the hottest temperature to watts, with a latch for the critical temperature.

    Anti-windup: the integral does not rise beyond what the other limits allow, nor fall once the output is zero.

    Attributes:
        integral_w: integral part, in watts.
        critical: whether the critical temperature was reached and not yet released.
    """

    def __init__(self) -> None:
        self.integral_w = 0.0
        self.critical = False
        self._followed_c: float | None = None

    def allowed_w(self, config: GovernorConfig, temperature_c: float, dt_s: float, bound_w: float) -> float:
        """Return the heat that the temperature allows, of all sources together.

        Monotone: a higher bound in the past or now never makes the result lower.

        Args:
            config: target and gains.
            temperature_c: temperature of the hottest sensor, in degrees Celsius, finite.
            dt_s: time since the last call, in seconds, at least 0.
            bound_w: power that the other limits allow, in watts; the integral does not rise beyond it.

        Returns:
            Power in watts, at least 0.
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

    def _follow(self, temperature_c: float, backlash_c: float) -> float:
        last_c = temperature_c if self._followed_c is None else self._followed_c
        self._followed_c = min(max(last_c, temperature_c - backlash_c), temperature_c + backlash_c)
        return self._followed_c

    def _latch(self, config: GovernorConfig, temperature_c: float) -> None:
        if temperature_c >= config.limit_c:
            self.critical = True
        elif temperature_c < config.limit_c - config.release_c:
            self.critical = False
