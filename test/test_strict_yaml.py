# SPDX-License-Identifier: Apache-2.0
"""YAML as plain data: what is refused in one line, and in which time and memory."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from admn_ros.config import load_config, parse_yaml
from admn_ros.config.strict_yaml import MAX_DEPTH, MAX_SIZE, VALUE_SIZE
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import ConfigError

BOMB = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x, x]",
                  *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)), "sensors: *a9"])
"""Ten values, and ten times as many on each line: 600 bytes of text that are gigabytes as JSON."""
LONG_ALIASES = f"a: &a {'x' * 10_000}\nsensors: [{', '.join(['*a'] * 1000)}]"


@pytest.mark.parametrize(("text", "found"), [
    ("sensors: &s\n  camera: *s", "an alias inside of its own anchor, line 2, column 11"),
    ("sensors: &s [*s]", "an alias inside of its own anchor"),
    ("sensors: " + "[" * 5000, f"more than {MAX_DEPTH} levels"),
    ("{a: " * 5000, f"more than {MAX_DEPTH} levels"),
    ("- " * 5000, f"more than {MAX_DEPTH} levels"),
    (BOMB, "aliases counted at each use, line 5"),
    (LONG_ALIASES, "aliases counted at each use"),
    pytest.param("a: [" + "1," * (MAX_SIZE // VALUE_SIZE + 1) + "]", "more than 65536 values", marks=pytest.mark.slow),
    ("budget: {limit: " + "1" * 5000 + "}", "a number of 5000 characters"),
    ("a: " + ":".join(["1"] * 50), "a number of 99 characters"),
    ("a: 0b_", "invalid literal"),
    ("a: 1\na: 2", "duplicate key a, line 1"),
    ("? [1, 2]\n: 3", "a key that is not a word"),
    ("a:\n\t- 1", r"found character '\t' that cannot start any token, line 2"),
    ("a: !!binary abc", "the tag tag:yaml.org,2002:binary"),
    ("a: !!set {b, c}", "the tag tag:yaml.org,2002:set"),
    ("a: !!python/name:os.system", "the tag tag:yaml.org,2002:python/name:os.system"),
    ("a: *b", "undefined alias"),
    ("---\na: 1\n---\nb: 2", "another document"),
    ("a: \x00", "special characters"),
], ids=lambda text: re.sub(r"\W+", " ", text[:24]))
def test_what_is_no_plain_yaml_is_refused_in_one_line(text: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "file.yaml")
    line = str(caught.value)
    assert line.startswith("file.yaml: found broken YAML (") and line.endswith("); allowed: a YAML mapping")
    assert found in line
    assert "\n" not in line and len(line) < 300


@pytest.mark.parametrize(("text", "value"), [
    ("2024-01-01: 2024-01-02", {"2024-01-01": "2024-01-02"}),
    ("a: .inf", {"a": math.inf}),
    ("x: &x {q: 1}\ny: {z: &z {<<: *x, q: 2}}\nw: {<<: *z, r: 3}",
     {"x": {"q": 1}, "y": {"z": {"q": 2}}, "w": {"q": 2, "r": 3}}),
    ("a: &a [1, 2]\nb: *a\nc: *a", {"a": [1, 2], "b": [1, 2], "c": [1, 2]}),
    ("a: " + "x" * 100_000, {"a": "x" * 100_000}),
    ("", None),
])
def test_plain_yaml_is_read(text: str, value: object) -> None:
    assert parse_yaml(text, "file.yaml") == value


@pytest.mark.slow
def test_memory_is_bounded(tmp_path: Path) -> None:
    texts = [BOMB, LONG_ALIASES, "sensors: " + "[" * 500_000]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.yaml").write_text(text)
    code = f"""
import resource
from pathlib import Path
from admn_ros.deployment import DeploymentConfig
from admn_ros.config import load_config
from admn_ros.errors import ConfigError
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (64 << 20), -1))
for file in sorted(Path({str(tmp_path)!r}).iterdir()):
    try:
        load_config(DeploymentConfig, file)
    except ConfigError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.count("broken YAML") == len(texts) and not done.stderr


def test_an_infinite_limit_is_no_limit(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    for limit, read in ((".inf", None), ("null", None), ("12", 12.0)):
        file.write_text(f"sensors: {{node1: {{rgb: {{topic: /rgb}}}}}}\nbudget: {{limit: {limit}}}")
        assert load_config(DeploymentConfig, file).budget.limit == read
    for limit in ("-.inf", ".nan", "-1", "1.0e+300"):
        file.write_text(f"sensors: {{node1: {{rgb: {{topic: /rgb}}}}}}\nbudget: {{limit: {limit}}}")
        with pytest.raises(ConfigError, match=r"budget\.limit: found"):
            load_config(DeploymentConfig, file)
