# SPDX-License-Identifier: Apache-2.0
"""What the servers of this package share: names, certificates and secrets; no HTTP library.

    site     by which names a server goes, and whether others can reach it
    secrets  files of keys and certificates, checked before they are used

`web_console/` and `serving/` stand on it.
"""
