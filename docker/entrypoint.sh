#!/bin/bash
source /workspace/venv/bin/activate
source /workspace/install/setup.bash
exec "$@"
