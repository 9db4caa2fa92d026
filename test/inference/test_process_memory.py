# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import numpy as np

from admn_ros.inference.process_memory import peak_mib, resident_mib

FAULTS = """
import resource, sys
import numpy as np
from admn_ros.inference.process_memory import keep_pages
if sys.argv[1] == "keep": keep_pages()
def images():
    for _ in range(50): np.ones(4 << 20, np.uint8)
images()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
images()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_what_is_allocated_is_resident_and_below_the_peak():
    before = resident_mib()
    block = np.ones(200 << 20, np.uint8)
    assert block[0] == 1 and 150 < resident_mib() - before < 250
    assert resident_mib() <= peak_mib() + 1


def test_images_reuse_their_pages():
    faults = {how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True,
                                      check=True).stdout) for how in ("keep", "default")}
    assert faults["keep"] < 1000, "50 images of 1024 pages each"
    assert faults["keep"] <= faults["default"]
