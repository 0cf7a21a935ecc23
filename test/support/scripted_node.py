# SPDX-License-Identifier: Apache-2.0
"""The penguin node with a scripted model, which loads at once. Run as a module."""

import sys

from penguin_ros.ros.node.main import main
from penguin_ros.testing.scripted_backend import answering

if __name__ == '__main__':
    sys.exit(main(backend_factory=answering()))
