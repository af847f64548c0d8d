"""Hosts of a fleet, by name."""

from __future__ import annotations

import pytest


@pytest.fixture
def host_of(tmp_path):
    """Return a host by its name; the same name goes on with the same state."""
    pytest.importorskip("redis")
    from fleet_host import Host, settings_of

    def make(name, url, **options):
        return Host(settings_of(tmp_path / name, url, **options))

    return make
