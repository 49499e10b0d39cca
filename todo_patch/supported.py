"""Which diffusers this library works with. It imports no other part: what is too old lacks what they need."""

from __future__ import annotations

import warnings

import diffusers
from packaging.specifiers import SpecifierSet  # diffusers itself needs this package
from packaging.version import Version

OLDEST_DIFFUSERS = "0.36"
TESTED_DIFFUSERS = ">=0.36,<0.43"  # docs/compatibility.md says what was run on each

if Version(diffusers.__version__) < Version(OLDEST_DIFFUSERS):
    raise ImportError(
        f"todo_patch needs diffusers {OLDEST_DIFFUSERS} or newer, and found {diffusers.__version__}. "
        f"Install one that it was tested with: pip install 'diffusers{TESTED_DIFFUSERS}'."
    )
if not SpecifierSet(TESTED_DIFFUSERS).contains(diffusers.__version__, prereleases=True):
    warnings.warn(
        f"todo_patch was tested with diffusers {TESTED_DIFFUSERS}, and found {diffusers.__version__}. If "
        f"something goes wrong: pip install 'diffusers{TESTED_DIFFUSERS}'.",
        stacklevel=2,
    )
