"""What the container installs."""

from __future__ import annotations

import re

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from tests.helpers.server import PROJECT

PINNED = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>\S+) \\$((?:\n    --hash=sha256:[0-9a-f]{64}.*)+)", re.M
)
OF_THE_CONTAINER = {**default_environment(), "python_version": "3.11", "sys_platform": "linux"}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-cpu.lock"])
def test_every_package_has_its_version_and_hashes(lock: str) -> None:
    text = (PROJECT / lock).read_text()
    pinned = {found["name"].lower(): found["version"] for found in PINNED.finditer(text)}
    assert len(pinned) == len(re.findall(r"^[\w.-]+==", text, re.M)), "one has no hash"
    for line in (PROJECT / "requirements.txt").read_text().splitlines():
        if not line.partition("#")[0].strip():
            continue
        wanted = Requirement(line.partition("#")[0].strip())
        if wanted.marker is None or wanted.marker.evaluate(OF_THE_CONTAINER):
            assert wanted.specifier.contains(pinned[wanted.name.lower().replace("_", "-")])


def test_the_container_installs_nothing_else() -> None:
    installs = re.findall(r"(?:pip|apt-get) install.*", (PROJECT / "Dockerfile").read_text())
    assert len(installs) == 1
    assert "--require-hashes" in installs[0]
