# SPDX-License-Identifier: Apache-2.0
"""`python -m admn_ros.nodes NODE --ros-args ...`: like `ros2 run admn_ros NODE`, without an installation."""

import sys

from admn_ros.errors import ConfigError
from admn_ros.nodes.process_signals import PROGRAMS, start

if __name__ == "__main__":
    name = sys.argv.pop(1) if len(sys.argv) > 1 else "nothing"
    if name not in PROGRAMS:
        print(ConfigError("node", name, ", ".join(PROGRAMS)), file=sys.stderr)
        sys.exit(2)
    start(name)
