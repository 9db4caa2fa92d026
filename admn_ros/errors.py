# SPDX-License-Identifier: Apache-2.0
"""The package's errors. Each names the field, what was found and what is allowed."""

from __future__ import annotations


class AdmnError(Exception):
    """Base of every error that a user of this package can cause or meet."""


class InputError(AdmnError, ValueError):
    """A value from outside (message, file, argument) that cannot be used."""

    def __init__(self, field: str, found: object, allowed: object) -> None:
        self.field, self.found, self.allowed = field, found, allowed
        super().__init__(f"{field}: found {found}; allowed: {allowed}")

    def within(self, place: str) -> InputError:
        """The same error with the place it happened in front of the field (`node1/rgb.encoding`)."""
        return type(self)(f"{place}.{self.field}", self.found, self.allowed)


class ConfigError(InputError):
    """A configuration file or parameter that is missing, malformed or out of range."""


class ModelError(InputError):
    """A model folder that is missing, incomplete or does not match its own config."""
