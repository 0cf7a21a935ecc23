# SPDX-License-Identifier: Apache-2.0
"""On a real cluster the application is reached by TLS, and Serve's address is not changed in
silence.
"""

from __future__ import annotations

import ssl
import urllib.error
from pathlib import Path

import pytest
from support.certificates import write_certificate
from support.ray_deployment import Deployed, serve_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_answers_come_by_tls_and_another_address_needs_a_new_start(tmp_path: Path) -> None:
    write_certificate(tmp_path, 'localhost', -1, 10)
    certificate = tmp_path / 'cert.pem'
    files = '--tls-certificate', str(certificate), '--tls-key', str(tmp_path / 'key.pem')
    with serve_cluster() as cluster:
        deployed = Deployed(cluster, ssl.create_default_context(cafile=str(certificate)))
        told = deployed.deploy('penguin_sim', *files)
        assert f'Deployed at https://127.0.0.1:{deployed.port}/v1' in told
        assert deployed.ask(max_tokens=4)['choices']
        plain = Deployed(cluster)
        plain.port = deployed.port
        refused = plain.command('penguin_sim', '--port', str(plain.port))
        assert refused.returncode == 2 and 'it began with https' in refused.stderr
        assert '--remove' in refused.stderr
        with pytest.raises((urllib.error.URLError, OSError)):
            plain.ask(max_tokens=4)
        assert deployed.ask(max_tokens=4)['choices'], 'what was deployed goes on'
        assert plain.command('--remove').returncode == 0
        plain.deploy()
        assert plain.ask(max_tokens=4)['choices']
