# SPDX-License-Identifier: Apache-2.0
"""`python -m admn_ros.cli`."""

from __future__ import annotations

import sys

from admn_ros.cli import main

if __name__ == "__main__":
    sys.exit(main())
