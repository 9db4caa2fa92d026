# SPDX-License-Identifier: Apache-2.0
"""Exceptions of the package. Messages have one of three shapes:

    FIELD: found VALUE; allowed: VALUES
    FIELD: missing; required: WHAT
    FIELD: conflicts with OTHER; REASON
"""

from __future__ import annotations

from typing import Final, TypeVar

LONGEST: Final = 400
"""Characters of a value in a message."""
E = TypeVar("E", bound="InputError")


class AdmnError(Exception):
    """Base class of all errors that input or configuration can cause."""


class InputError(AdmnError, ValueError):
    """Invalid input from a message, a file or an argument.

    Attributes:
        field: name of the field, option or path.
        found: value that was found.
        allowed: values that are allowed, or what is required.
    """

    def __init__(self, field: str, found: object, allowed: object) -> None:
        self._set(field, found, allowed, f"found {_short(found)}; allowed: {allowed}")

    @classmethod
    def missing(cls: type[E], field: str, required: object) -> E:
        """Return an error for a field, file or option that is required and absent."""
        return cls._with(field, "nothing", required, f"missing; required: {required}")

    @classmethod
    def conflict(cls: type[E], field: str, other: str, reason: object) -> E:
        """Return an error for two options that exclude each other.

        Args:
            field: one of them.
            other: the other one, with its value if that matters.
            reason: why they exclude each other, and what to do.
        """
        return cls._with(field, other, reason, f"conflicts with {other}; {reason}")

    def within(self: E, place: str) -> E:
        """Return the same error with `place.` in front of its field (`node1/rgb.encoding`)."""
        return self._with(f"{place}.{self.field}", self.found, self.allowed, self._problem)

    @classmethod
    def _with(cls: type[E], field: str, found: object, allowed: object, problem: str) -> E:
        error = cls.__new__(cls)
        error._set(field, found, allowed, problem)
        return error

    def _set(self, field: str, found: object, allowed: object, problem: str) -> None:
        self.field, self.found, self.allowed, self._problem = field, found, allowed, problem
        self.args = (one_line(f"{field}: {problem}"),)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors of worker processes are pickled; the default would call __init__ with the message alone.
        return type(self)._with, (self.field, self.found, self.allowed, self._problem)


def one_line(text: str) -> str:
    """Return a text with its control characters and line separators escaped, so that it is one line on a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"


class ConfigError(InputError):
    """Configuration file or parameter that is missing, malformed or out of range."""


class ModelError(InputError):
    """Model folder that is missing, incomplete or inconsistent with its configuration."""
