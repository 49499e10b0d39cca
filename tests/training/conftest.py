from __future__ import annotations

import pytest

from compare.study.classifier import Classifier, load_classifier
from training import WORK
from training.classifier import WEIGHTS


@pytest.fixture
def artwork() -> None:
    """The emoji that sheets are drawn from; fetched by training, not by tests."""
    if not (WORK / "artwork" / "package" / "icons.json").exists():
        pytest.skip("the artwork has not been fetched: see training/README.md")
    pytest.importorskip("resvg_py")


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """The one that ships."""
    return load_classifier(WEIGHTS)
