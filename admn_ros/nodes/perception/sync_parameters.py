# SPDX-License-Identifier: Apache-2.0
"""Limits of the synchronizer as parameters that can change while readings come."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from admn_ros.config import parse_config
from admn_ros.deployment import SyncConfig
from admn_ros.errors import ConfigError
from admn_ros.nodes.parameters import Spec, declare
from admn_ros.sample import Modality

_MOST_S = 3600.0
_FIELDS = {
    "tolerance_s": ("A reading this close to the frame's stamp is fresh.", 0.0),
    "hold_s": ("An older reading is held up to this age, then it is missing.", 0.0),
    "wait_s": ("How long a frame waits for a live input of this modality.", 0.0),
    "offset_s": ("Known latency of the stamps; subtracted.", -_MOST_S),
}
_SILENT = "sync.silent_s"


def sync_specs(config: SyncConfig, modalities: Iterable[Modality]) -> list[Spec]:
    """One parameter for each limit: sync.silent_s, sync.MODALITY.tolerance_s and so on; defaults are the file's."""
    specs = [Spec(_SILENT, config.silent_s, "An input that sent nothing for so long is not waited for.", live=True,
                  low=0.001, high=_MOST_S)]
    for modality in modalities:
        of = config.of(modality)
        specs += [Spec(f"sync.{modality}.{name}", getattr(of, name), text, live=True, low=low, high=_MOST_S)
                  for name, (text, low) in _FIELDS.items()]
    return specs


class SyncParameters:
    """The parameters `sync.*`, which are there while the node is configured.

    They begin with the deployment file's values, which the node's own parameters override. All changes of one call
    are checked together before any is taken.

    Args:
        node: gets the parameters.
        config: the deployment file's.
        modalities: of its inputs.
        apply: gets the whole configuration, at once and after each change.

    Raises:
        ConfigError: a value that cannot be; nothing is left declared.
    """

    def __init__(self, node: Node, config: SyncConfig, modalities: Iterable[Modality],
                 apply: Callable[[SyncConfig], None]) -> None:
        self._node, self._config, self._apply = node, config, apply
        self._modalities = sorted(set(modalities), key=list(Modality).index)
        self._specs = sync_specs(config, self._modalities)
        self._listening = False
        self.close()  # of a configuration that failed further on
        try:
            declare(node, self._specs)
            apply(self._with({}))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            self.close()
            raise ConfigError("sync", error, "seconds as a number with a point, in range") from error
        except ConfigError:
            self.close()
            raise
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._take)
        self._listening = True

    def close(self) -> None:
        """Take the parameters away."""
        if self._listening:
            self._node.remove_on_set_parameters_callback(self._check)
            self._node.remove_post_set_parameters_callback(self._take)
            self._listening = False
        for spec in self._specs:
            if self._node.has_parameter(spec.name):
                self._node.undeclare_parameter(spec.name)

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            self._with({p.name: p.value for p in changes})
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _take(self, changes: list[Parameter]) -> None:
        if any(p.name.startswith("sync.") for p in changes):
            self._apply(self._with({}))

    def _with(self, changes: dict[str, object]) -> SyncConfig:
        """The configuration that the parameters say, some of them changed.

        Raises:
            ConfigError: a value that cannot be, such as one that is not finite.
        """
        def value(name: str) -> object:
            return changes.get(name, self._node.get_parameter(name).value)

        said = {str(m): {name: value(f"sync.{m}.{name}") for name in _FIELDS} for m in self._modalities}
        whole = self._config.model_dump(mode="json")
        whole["modalities"] |= said
        return parse_config(SyncConfig, whole | {"silent_s": value(_SILENT)}, "sync")
