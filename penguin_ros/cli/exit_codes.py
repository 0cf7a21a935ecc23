# SPDX-License-Identifier: Apache-2.0
"""The exit codes of the command line."""

DONE = 0
FAILED = 1
"""The work itself failed, or a check found a fault."""
UNUSABLE = 2
"""Wrong usage, or something that is needed is missing."""
INTERRUPTED = 130
