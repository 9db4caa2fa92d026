# SPDX-License-Identifier: Apache-2.0
"""YAML as plain data, in bounded time and memory.

PyYAML keeps the last of two equal keys, makes dates of some words, and lets a few hundred bytes of aliases grow to
gigabytes when they are written out. Here a document is a tree of mappings, lists and scalars, of bounded size, with
words for keys.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import yaml

from admn_ros.errors import ConfigError

MAX_DEPTH: Final = 32
"""Nesting of mappings and lists."""
MAX_SIZE: Final = 1 << 21
"""Characters of all keys and values plus `VALUE_SIZE` for each, with the content of an alias counted at each use."""
VALUE_SIZE: Final = 32
MAX_DIGITS: Final = 64
"""Characters of a number."""
_CORE: Final = ("null", "bool", "int", "float", "str", "seq", "map", "merge")
"""Kinds of values that JSON has too, and the merge key."""


class _Refused(yaml.MarkedYAMLError):
    """A document that is YAML, but not of the kind that is read here."""


class _PlainLoader(yaml.SafeLoader):
    """Loader that counts what it reads while it reads it."""

    def __init__(self, text: str, most: int) -> None:
        super().__init__(text)
        self._depth = self._size = 0
        self._most = most
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, and count the values below it.

        Raises:
            _Refused: the document is nested too deeply, too large, or contains itself.
        """
        event, before = self.peek_event(), self._size  # type: ignore[no-untyped-call]
        mark, is_alias = event.start_mark, isinstance(event, yaml.AliasEvent)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Refused(None, None, f"more than {MAX_DEPTH} levels", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise _Refused(None, None, "an alias inside of its own anchor", mark)
        if is_alias:
            self._size += self._sizes[id(node)]
        else:
            self._size += VALUE_SIZE + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
            _check_node(node)
        if self._size > self._most:
            raise _Refused(None, None, f"more than {self._most // VALUE_SIZE} values or {self._most} characters, "
                                       "aliases counted at each use", mark)
        self._sizes.setdefault(id(node), self._size - before)
        return node


def parse_yaml(text: str, place: str, allowed: str = "a YAML mapping", most: int = MAX_SIZE) -> object:
    """Parse a YAML document; dates are words.

    Args:
        text: the document.
        place: file or option that errors name.
        allowed: what the error message asks for.
        most: largest size, counted as in `MAX_SIZE`.

    Raises:
        ConfigError: the text is not YAML, has an equal key twice, a key or value that JSON does not have, or is too
            large (`MAX_DEPTH`, `most`, `MAX_DIGITS`).
    """
    loader = None
    try:
        loader = _PlainLoader(text, most)
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise ConfigError(place, f"broken YAML ({_reason(error)})", allowed) from error
    except (ValueError, OverflowError) as error:  # a number that Python does not read, such as 0b_
        raise ConfigError(place, f"broken YAML ({error})", allowed) from error
    finally:
        if loader is not None:
            loader.dispose()


def _check_node(node: Any) -> None:
    """Refuse tags beyond JSON, long numbers, and keys that are not words or occur twice, in a node of PyYAML."""
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind not in _CORE:
        raise _Refused(None, None, f"the tag {node.tag}", node.start_mark)
    if kind in ("int", "float") and isinstance(node, yaml.ScalarNode) and len(node.value) > MAX_DIGITS:
        raise _Refused(None, None, f"a number of {len(node.value)} characters", node.start_mark)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _Refused(None, None, "a key that is not a word", key.start_mark)
    twice = [name for name, count in Counter(key.value for key, _ in node.value).items() if count > 1]
    if twice:
        raise _Refused(None, None, f"duplicate key {twice[0]}", node.start_mark)


def _reason(error: yaml.YAMLError) -> str:
    """Describe an error in one line, without the quoted text, which may be of any length."""
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
    return f"{' '.join(str(problem).split())}{where}"


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()}
