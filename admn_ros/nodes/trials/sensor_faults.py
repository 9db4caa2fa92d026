# SPDX-License-Identifier: Apache-2.0
"""Faults of the sensors of a modality: silence, latency, rate, invalid values, encodings, clock."""

from __future__ import annotations

import time

import numpy as np
from rclpy.serialization import serialize_message

from admn_ros.nodes.trials import synthetic_messages as synthetic
from admn_ros.nodes.trials.fault_result import MIN_FRAMES, FaultResult, FaultSetup, FaultWindow
from admn_ros.nodes.trials.feed import StreamFault
from admn_ros.sample import Availability, Modality

LAG_S, JUMP_BACK_S, TAI_S = 0.3, 3600.0, 37.0


class SensorFaults:
    """Puts faults into the inputs of a running node, one after another. Each method returns its result."""

    def __init__(self, setup: FaultSetup, sizes: synthetic.Sizes) -> None:
        self._setup, self._sizes, self._rng = setup, sizes, np.random.default_rng(5)

    def stop_and_return(self, modality: Modality) -> list[FaultResult]:
        """Stop all messages, then send them again. Two results."""
        name = str(modality)
        stop = self._open(f"{name} stops", modality, StreamFault(silent=True))
        self._wait_until_missing(stop, name)
        stop.wait_for_frames()
        missing = [f for f in stop.frames if f.states[name] is Availability.MISSING]
        stop.result.require(len(missing) >= MIN_FRAMES, f"{len(missing)} frames reported it missing")
        stop.result.outcome = "reported missing; output continues without it"
        back = FaultWindow(self._setup, FaultResult(f"{name} returns"))
        stopped = stop.close()
        back.result.outcome = "used again"
        return [stopped, self._recover(back, modality)]

    def lag(self, modality: Modality) -> FaultResult:
        """Send messages late, with true stamps."""
        name, is_reference = str(modality), modality is self._reference
        window = self._open(f"{name} lags {1e3 * LAG_S:.0f} ms", modality, StreamFault(lag_s=LAG_S))
        result = window.result
        if is_reference:
            result.noticed_s = self._setup.wait_for_frame(lambda f: f.transit_ms >= 1e3 * LAG_S, window.start_s)
            result.outcome = "frames keep its stamps and are as late as it is"
        else:
            result.noticed_s = self._setup.wait_for_frame(
                lambda f: f.states[name] is not Availability.FRESH, window.start_s)
            result.outcome = "held or missing, not taken as fresh"
        window.wait_for_frames()
        result.require(result.noticed_s is not None, "the output never reflected it")
        if not is_reference:
            # Where the node itself is delayed by as much, a late reading does arrive in time: most must not.
            lagging = [f for f in window.frames if f.stamp_ns > window.start_ns + 1e9 * LAG_S]
            fresh = sum(f.states[name] is Availability.FRESH for f in lagging)
            result.require(2 * fresh <= len(lagging), f"{fresh} of {len(lagging)} frames took it as fresh")
        return self._recover(window, modality)

    def double_rate(self, modality: Modality) -> FaultResult:
        """Send at twice the rate."""
        window = self._open(f"{modality} doubles its rate", modality, StreamFault(speed=2.0))
        window.wait_for_frames()
        self._require_present(window, modality)
        stamps = [f.stamp_ns for f in window.frames]
        window.result.require(stamps == sorted(set(stamps)), "frames out of order")
        is_reference = modality is self._reference
        window.result.outcome = ("frames follow it, the newest is processed" if is_reference
                                 else "the nearest reading is used")
        return self._recover(window, modality)

    def not_finite(self, modality: Modality) -> FaultResult:
        """Send nothing but NaN."""
        window = self._open(f"{modality} sends NaN", modality,
                            self._sending(synthetic.nan_message(modality, self._sizes)))
        if modality in (Modality.RGB, Modality.AUDIO):
            self._require_refused(window, modality)
        else:
            window.wait_for_frames()
            self._require_present(window, modality)
            window.result.outcome = "accepted as invalid cells; poses stay finite"
        return self._recover(window, modality)

    def other_encoding(self, modality: Modality) -> FaultResult:
        """Send another supported encoding."""
        message = synthetic.reencoded_message(modality, self._sizes, self._rng)
        changed = "byte order" if modality is Modality.RADAR else "encoding"
        window = self._open(f"{modality} changes its {changed}", modality, self._sending(message))
        window.wait_for_frames()
        self._require_present(window, modality)
        window.result.outcome = "used as before"
        result = self._recover(window, modality)
        result.require(not result.refused, f"{result.refused} messages refused")
        return result

    def unknown_encoding(self, modality: Modality) -> FaultResult:
        """Send an encoding that does not exist."""
        message = synthetic.unknown_encoding_message(modality, self._sizes, self._rng)
        window = self._open(f"{modality} sends an unknown encoding", modality, self._sending(message))
        self._require_refused(window, modality)
        return self._recover(window, modality)

    def jump_back(self, modality: Modality) -> FaultResult:
        """Set the sensor's clock back, and later forward again."""
        window = self._open(f"{modality} jumps back an hour", modality, StreamFault(shift_s=-JUMP_BACK_S))
        self._wait_until_missing(window, str(modality))
        window.wait_for_frames()
        if 2 * len(self._setup.feed.streams_of(modality)) <= len(self._setup.feed.streams):
            old = sum(f.stamp_ns < window.start_ns - 1e9 * JUMP_BACK_S / 2 for f in window.frames)
            window.result.require(not old, f"{old} frames of an hour before")
        window.result.outcome = "ignored while its clock differs from the others'; output continues"
        return self._recover(window, modality)

    def tai(self, modality: Modality) -> FaultResult:
        """Let the sensor's clock count TAI instead of UTC."""
        window = self._open(f"{modality} is 37 s ahead (TAI)", modality, StreamFault(shift_s=TAI_S))
        self._wait_for_status(window, f"/{modality}", "TAI against UTC?")
        window.wait_for_frames()
        window.result.outcome = "never used; a warning has the offset and its cause"
        return self._recover(window, modality)

    def all_behind(self) -> FaultResult:
        """Set the clocks of all sensors back by an hour, and later forward again."""
        result = FaultResult("all sensors are an hour behind")
        self._setup.require_inputs(result, "an input was missing before the fault")
        window = FaultWindow(self._setup, result)
        self._setup.feed.set_fault(None, StreamFault(shift_s=-JUMP_BACK_S))
        self._wait_for_status(window, "clock", "behind this clock")
        window.wait_for_frames()
        result.outcome = "output continues; a warning has the offset"
        return self._recover(window, None)

    @property
    def _reference(self) -> Modality:
        """Modality that makes the frames."""
        return next(m for m in Modality if self._setup.feed.streams_of(m))

    def _open(self, name: str, modality: Modality, fault: StreamFault) -> FaultWindow:
        result = FaultResult(name)
        self._setup.require_inputs(result, "an input was missing before the fault")
        self._setup.wait_for_diagnostics()
        window = FaultWindow(self._setup, result)
        self._setup.feed.set_fault(modality, fault)
        return window

    def _sending(self, message: synthetic.Message) -> StreamFault:
        return StreamFault(messages=(serialize_message(message),))

    def _wait_for_status(self, window: FaultWindow, ending: str, text: str) -> None:
        """Wait until the message of a status whose name ends like this has a text."""
        subject = self._setup.subject

        def there() -> bool:
            return any(text in values["message"] for name, values in list(subject.listener.statuses.items())
                       if name.endswith(ending))

        found = subject.wait(there, self._setup.limits.patience_s)
        window.result.require(found, f"no status has the text: {text}")
        window.result.noticed_s = time.monotonic() - window.start_s if found else None

    def _wait_until_missing(self, window: FaultWindow, name: str) -> None:
        window.result.noticed_s = self._setup.wait_for_frame(
            lambda f: f.states[name] is Availability.MISSING, window.start_s)
        window.result.require(window.result.noticed_s is not None, "it was never reported missing")

    def _require_refused(self, window: FaultWindow, modality: Modality) -> None:
        subject = self._setup.subject
        self._wait_until_missing(window, str(modality))
        before = subject.listener.refused_messages()
        window.result.require(
            subject.wait(lambda: subject.listener.refused_messages() > before, self._setup.limits.patience_s),
            "no refusal was counted")
        window.wait_for_frames()
        window.result.outcome = "refused and counted, then missing; output continues without it"

    def _require_present(self, window: FaultWindow, modality: Modality) -> None:
        missing = sum(f.states[str(modality)] is Availability.MISSING for f in window.frames)
        # Frames that a busy machine delays may find a reading too old: most must not.
        window.result.require(2 * missing < len(window.frames), f"missing in {missing} of {len(window.frames)} frames")

    def _recover(self, window: FaultWindow, modality: Modality | None) -> FaultResult:
        """Clear the fault, and close the window after a frame that has the modality, or all, from all nodes."""
        self._setup.feed.set_fault(modality, StreamFault())
        cleared_s = time.monotonic()
        wanted, cleared_ns = {str(m) for m in Modality if self._setup.feed.streams_of(m)}, time.time_ns()
        wanted = wanted if modality is None else {str(modality)}
        window.result.recovery_s = self._setup.wait_for_frame(
            lambda f: f.stamp_ns > cleared_ns and wanted <= f.complete)
        if window.result.recovery_s is None:
            window.result.require(False, f"it did not recover: {self._setup.describe_missing(cleared_s)}")
        self._setup.subject.wait(lambda: len(window.frames) >= MIN_FRAMES, self._setup.limits.patience_s)
        self._setup.wait_for_diagnostics()
        return window.close()
