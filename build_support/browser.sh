#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs Chromium for the tests of the report, which are skipped without it. Needs root and apt. Never fails.
set -uo pipefail
for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
  command -v "$name" >/dev/null 2>&1 && exit 0
done
skipped="browser tests of the report are skipped (Debian: apt install chromium)"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "admn_ros: no Chromium; $skipped"
  exit 0
fi
echo "admn_ros: installing Chromium for the tests of the report"
export DEBIAN_FRONTEND=noninteractive
timeout 300 sh -c 'apt-get update && apt-get install -y --no-install-recommends chromium' >/dev/null 2>&1 \
  || echo "admn_ros: the installation failed; $skipped"
exit 0
