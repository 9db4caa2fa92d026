# SPDX-License-Identifier: Apache-2.0
"""Parameters of the synchronizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from admn_ros.config import parse_config
from admn_ros.deployment import SyncConfig
from admn_ros.errors import ConfigError
from admn_ros.nodes.parameters import Spec, declare
from admn_ros.sample import Modality

_MOST_S = 3600.0
_FIELDS = {
    "tolerance_s": ("Largest distance of a fresh reading from the stamp of the frame, in seconds.", 0.0),
    "hold_s": ("Largest age of a held reading, in seconds; older ones are missing.", 0.0),
    "wait_s": ("Longest wait of a frame for a live input of this modality, in seconds.", 0.0),
    "offset_s": ("Known latency of the stamps, in seconds; it is subtracted.", -_MOST_S),
}
_SILENT = "sync.silent_s"


def sync_specs(config: SyncConfig, modalities: Iterable[Modality]) -> list[Spec]:
    """Return the parameters sync.silent_s and sync.MODALITY.FIELD; the defaults are those of the deployment file."""
    specs = [Spec(_SILENT, config.silent_s, "Time without messages after which an input is not waited for, in seconds.",
                  live=True, low=0.001, high=_MOST_S)]
    for modality in modalities:
        of = config.of(modality)
        specs += [Spec(f"sync.{modality}.{name}", getattr(of, name), text, live=True, low=low, high=_MOST_S)
                  for name, (text, low) in _FIELDS.items()]
    return specs


class SyncParameters:
    """Parameters `sync.*`, declared while the node is configured.

    Initial values are those of the deployment file, overridden by the node's parameters. All changes of one call are
    checked together before any is applied.

    Args:
        node: node that the parameters are declared on.
        config: settings of the deployment file.
        modalities: modalities of the inputs.
        apply: receives the settings in force, at once and after each change.

    Raises:
        ConfigError: a value is not allowed; no parameter is left declared.
    """

    def __init__(self, node: Node, config: SyncConfig, modalities: Iterable[Modality],
                 apply: Callable[[SyncConfig], None]) -> None:
        self._node, self._config, self._apply = node, config, apply
        self._modalities = sorted(set(modalities), key=list(Modality).index)
        self._specs = sync_specs(config, self._modalities)
        self._declared = False
        try:
            declare(node, self._specs)
            apply(self._with({}))
        except ConfigError:
            self.close()
            raise
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._on_change)
        self._declared = True

    def close(self) -> None:
        """Undeclare the parameters."""
        if self._declared:
            self._node.remove_on_set_parameters_callback(self._check)
            self._node.remove_post_set_parameters_callback(self._on_change)
            self._declared = False
        for spec in self._specs:
            if self._node.has_parameter(spec.name):
                self._node.undeclare_parameter(spec.name)

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            self._with({p.name: p.value for p in changes})
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _on_change(self, changes: list[Parameter]) -> None:
        if any(p.name.startswith("sync.") for p in changes):
            self._apply(self._with({}))

    def _with(self, changes: dict[str, object]) -> SyncConfig:
        """Return the settings of the parameters, with changes applied.

        Raises:
            ConfigError: a value is not allowed, such as one that is not finite.
        """
        def value(name: str) -> object:
            return changes.get(name, self._node.get_parameter(name).value)

        limits = {str(m): {name: value(f"sync.{m}.{name}") for name in _FIELDS} for m in self._modalities}
        settings = self._config.model_dump(mode="json")
        settings["modalities"] |= limits
        return parse_config(SyncConfig, settings | {"silent_s": value(_SILENT)}, "sync")
