# SPDX-License-Identifier: Apache-2.0
"""The law that turns requests, temperatures, a battery and watts into one budget of layers.

The grant is the minimum of all fresh sources, a whole number of layers.

Hard limits hold at once:
    requests            the minimum of all power managers whose request is still valid, whatever their priority;
                        `default_layers` while there is none. Limits in other units become layers by the model's
                        costs in the worst case; one that cannot be converted counts as `safe_layers`.
    stale               `safe_layers` while a watched measurement is too old.
    critical            `min_layers` from `limit_c` on, until `release_c` below it.
Soft limits pass through slew and hysteresis, never below `min_layers`:
    temperature         `admn_ros.governor.thermal`, less what other loads draw, over the joules of a layer.
    battery             `admn_ros.governor.battery`.
    power               `power_limit_w` less what other loads draw.

The grant starts at `safe_layers` and rises by `rise_layers_per_s` at most, whatever asks for it. Hard limits lower
it at once, soft ones by `fall_layers_per_s` at most. It rises to n only when the law has reached n plus
`hysteresis_layers`, or when n is all that the hard limits allow.

Deterministic: time is an argument, and nothing else comes from outside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from admn_ros.budget.budget import Budget, BudgetBook
from admn_ros.errors import InputError
from admn_ros.governor.battery import Battery, battery_layers
from admn_ros.governor.config import GovernorConfig
from admn_ros.governor.layer_equivalent import LayerEquivalent, PowerModel, frame_energy
from admn_ros.governor.measurements import Measurements
from admn_ros.governor.thermal import ThermalController
from admn_ros.model.costs import ModelCosts

MAX_STEP_S = 1.0  # a longer pause between steps counts as this: slew and integral do not jump after it
TEMPERATURE_RANGE_C = (-55.0, 150.0)  # of silicon sensors; drivers report absent ones as -256


class Reason(Enum):
    """What the grant is bound by."""

    DEFAULT = "default"
    REQUEST = "request"
    STALE = "stale"
    CRITICAL = "critical temperature"
    TEMPERATURE = "temperature"
    BATTERY = "battery"
    POWER = "power"
    RISING = "rising"


@dataclass(frozen=True)
class Cap:
    """A limit of one source. layers: range [0, inf]."""

    layers: float
    reason: Reason
    text: str


@dataclass(frozen=True)
class Grant:
    """A decision.

    requested, granted: layers; granted <= requested.
    reason, text: what binds it, for machines and for people.
    caps: every limit that was weighed.
    temperature_c: the hottest fresh temperature, None without one.
    others_w: estimate of what other loads draw, None without readings in watts.
    problems: what needs attention: stale inputs, requests that could not be converted, a critical temperature.
    """

    requested: int
    granted: int
    reason: Reason
    text: str
    caps: tuple[Cap, ...]
    temperature_c: float | None
    others_w: float | None
    problems: tuple[str, ...]

    def budget(self, source: str) -> Budget:
        """The grant as a budget."""
        return Budget(self.granted, "layers", source)


class Governor:
    """Feed it with what arrives, ask it for a grant in regular steps.

    Args:
        config: see `GovernorConfig`.
        costs: of the model, for limits in other units and for measured joules; None without a model.
    """

    def __init__(self, config: GovernorConfig, costs: ModelCosts | None = None) -> None:
        self._config = config
        self._energy = frame_energy(costs)
        self._costs = costs
        self._equivalent = LayerEquivalent(costs, config.max_layers)
        self._requests = BudgetBook(Budget(config.default_layers, "layers"))
        self._temperatures: Measurements[float] = Measurements("temperature")
        self._batteries: Measurements[Battery] = Measurements("battery")
        self._watts: Measurements[float] = Measurements("watts")
        self._thermal = ThermalController()
        self._others_w: float | None = None
        self._others_at_s = 0.0
        self._stepped_at_s: float | None = None
        self._level = float(min(config.safe_layers, self.max_layers))
        self._granted = math.floor(self._level)

    @property
    def max_layers(self) -> int:
        """Layers of the model."""
        return self._equivalent.max_layers

    @property
    def power(self) -> PowerModel:
        """Heat of the perception by layers: measured where the model has it, else by the configuration."""
        base_j, layer_j = self._energy or (self._config.joules_per_frame, self._config.joules_per_layer)
        return PowerModel.of(base_j, layer_j, self._config.frame_rate_hz)

    def reconfigure(self, config: GovernorConfig) -> None:
        """Go on with other numbers from here."""
        self._config = config
        self._equivalent = LayerEquivalent(self._costs, config.max_layers)
        self._requests.default = Budget(config.default_layers, "layers")

    # --- what arrives; a value that raises leaves no trace -----------------------------------------

    def request(self, budget: Budget, priority: int, valid_for_s: float, now_s: float) -> None:
        """A power manager asks. See `BudgetBook.submit`; the priority only decides who is named of equal limits."""
        self._requests.submit(budget, priority, valid_for_s, now_s)

    def temperature(self, name: str, celsius: float, now_s: float) -> None:
        """A temperature.

        Raises:
            InputError: it is NaN or none that a sensor can have.
        """
        low, high = TEMPERATURE_RANGE_C
        if not low <= celsius <= high:
            raise InputError(f"temperature of {name}", celsius, f"degrees Celsius in [{low:g}, {high:g}]")
        self._temperatures.put(name, celsius, _finite(now_s))

    def temperature_off(self, name: str) -> None:
        """A temperature sensor was switched off on purpose and is not missed."""
        self._temperatures.forget(name)

    def battery(self, name: str, battery: Battery, now_s: float) -> None:
        """A battery state."""
        self._batteries.put(name, battery, _finite(now_s))

    def watts(self, name: str, watts: float, now_s: float) -> None:
        """What the whole board draws, perception included. Of several such readings the highest counts.

        What the perception draws when it spends its grant is taken off; the rest are other loads.

        Raises:
            InputError: it is NaN, infinite or negative.
        """
        if not (math.isfinite(watts) and watts >= 0):
            raise InputError(f"watts of {name}", watts, "watts in [0, inf)")
        self._watts.put(name, watts, _finite(now_s))
        total_w = max(self._watts.fresh(now_s, self._config.power_timeout_s).values())
        others_w = max(0.0, total_w - self.power.watts(self._granted))
        if self._others_w is None:
            self._others_w = others_w
        else:
            tau_s, dt_s = self._config.power_filter_s, max(0.0, now_s - self._others_at_s)
            weight = 1.0 - math.exp(-dt_s / tau_s) if tau_s > 0 else 1.0
            self._others_w += weight * (others_w - self._others_w)
        self._others_at_s = now_s

    # --- the law -----------------------------------------------------------------------------------

    def step(self, now_s: float) -> Grant:
        """Decide.

        Args:
            now_s: time of a clock that does not jump, seconds; the clock of everything that arrives.

        Raises:
            InputError: the time is not finite.
        """
        config = self._config
        last_s = now_s if self._stepped_at_s is None else self._stepped_at_s
        self._stepped_at_s = _finite(now_s)
        dt_s = min(max(0.0, now_s - last_s), MAX_STEP_S)
        request, problems = self._request_cap(now_s)
        hard = [request, *self._stale_caps(now_s)]
        fixed = [*self._battery_caps(now_s), *self._power_caps()]
        temperatures = self._temperatures.fresh(now_s, config.temperature_timeout_s)
        soft = fixed + self._thermal_caps(temperatures, dt_s, min(c.layers for c in hard + fixed))
        if self._thermal.critical:
            hard.append(Cap(config.min_layers, Reason.CRITICAL, f"from {config.limit_c:g} C on"))
        self._move(dt_s, math.floor(min(c.layers for c in hard)), min((c.layers for c in soft), default=math.inf))
        requested = math.floor(request.layers)
        binding = self._binding(hard, soft)
        problems += [c.text for c in hard if c.reason in (Reason.STALE, Reason.CRITICAL)]
        return Grant(requested, self._granted, binding.reason, binding.text, (*hard, *soft),
                     max(temperatures.values(), default=None), self._others_w, tuple(problems))

    def _request_cap(self, now_s: float) -> tuple[Cap, list[str]]:
        """The minimum of the valid requests, and what is wrong with them."""
        requests = self._requests.valid(now_s)
        if not requests:
            return Cap(min(self._config.default_layers, self.max_layers), Reason.DEFAULT, "no power manager asks"), []
        caps, problems = [], []
        for budget in requests:
            who = f"{budget.source or 'unnamed'} asks for {budget.limit:g} {budget.unit}"
            try:
                layers = self._equivalent.layers(budget, self._config.frame_rate_hz)
            except InputError as error:
                layers = min(self._config.safe_layers, self.max_layers)
                problems.append(f"{who}, which counts as {layers} layers: {error}")
            caps.append(Cap(layers, Reason.REQUEST, who))
        return min(caps, key=lambda c: c.layers), problems

    def _stale_caps(self, now_s: float) -> list[Cap]:
        config = self._config
        kinds = ((self._temperatures, config.temperature_timeout_s, config.require_temperature),
                 (self._batteries, config.battery_timeout_s, config.require_battery),
                 (self._watts, config.power_timeout_s, config.require_power))
        missing = [kind.stale(now_s, timeout_s, required) for kind, timeout_s, required in kinds]
        return [Cap(config.safe_layers, Reason.STALE, f"{text}: no fresh reading") for text in missing if text]

    def _battery_caps(self, now_s: float) -> list[Cap]:
        return [Cap(battery_layers(self._config, battery, self.max_layers), Reason.BATTERY,
                    f"{name} at {battery.charge:.0%}")
                for name, battery in self._batteries.fresh(now_s, self._config.battery_timeout_s).items()]

    def _power_caps(self) -> list[Cap]:
        limit_w = self._config.power_limit_w
        if limit_w == 0 or self._others_w is None:
            return []
        return [self._soft_cap(limit_w - self._others_w, Reason.POWER,
                               f"{limit_w:g} W, of which other loads draw {self._others_w:.1f} W")]

    def _thermal_caps(self, temperatures: Mapping[str, float], dt_s: float, bound_layers: float) -> list[Cap]:
        """The cap of the hottest sensor. bound_layers: what the other limits leave."""
        if not temperatures:
            return []
        name = max(temperatures, key=lambda n: temperatures[n])
        others_w = self._others_w or 0.0
        bound_w = others_w + self.power.watts(min(bound_layers, self.max_layers) + self._config.hysteresis_layers)
        allowed_w = self._thermal.allowed_w(self._config, temperatures[name], dt_s, bound_w)
        return [self._soft_cap(allowed_w - others_w, Reason.TEMPERATURE,
                               f"{name} at {temperatures[name]:.1f} C, target {self._config.target_c:g} C")]

    def _soft_cap(self, watts: float, reason: Reason, text: str) -> Cap:
        return Cap(max(self.power.layers(watts), float(self._config.min_layers)), reason, text)

    def _move(self, dt_s: float, hard: int, soft: float) -> None:
        """Follow the soft limit with slew, the hard one at once, in whole layers with hysteresis."""
        config, margin = self._config, self._config.hysteresis_layers
        if soft < self._level:
            self._level = max(soft, self._level - config.fall_layers_per_s * dt_s)
        else:
            self._level = min(soft, self._level + config.rise_layers_per_s * dt_s)
        # The margin above the hard limit lets the grant reach it; the last line keeps it there.
        self._level = min(self._level, hard + margin)
        kept, reached = min(self._granted, math.floor(self._level)), math.floor(self._level - margin)
        self._granted = min(hard, max(kept, reached, 0))

    def _binding(self, hard: list[Cap], soft: list[Cap]) -> Cap:
        """What the grant is bound by: the lowest limit, or the way up to it."""
        lowest = min([*hard, *soft], key=lambda c: c.layers)
        if self._granted + self._config.hysteresis_layers < math.floor(lowest.layers) or \
                (lowest in hard and self._granted < math.floor(lowest.layers)):
            return Cap(self._level, Reason.RISING, f"rising to {math.floor(lowest.layers)} ({lowest.text})")
        return lowest


def _finite(now_s: float) -> float:
    if not math.isfinite(now_s):
        raise InputError("now_s", now_s, "a finite time in seconds")
    return now_s
