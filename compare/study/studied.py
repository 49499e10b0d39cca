"""What studies compare: the methods of the page, and variants that only studies have."""

from __future__ import annotations

from compare import methods
from compare.methods import Method, known_methods, method_of
from compare.study.fewer_steps import STEP_COUNTS
from compare.study.forecast_variants import FORECAST_VARIANTS
from compare.study.grid_variants import GRID_VARIANTS
from compare.study.sampling_modes import SAMPLING_MODES

VARIANTS: tuple[Method, ...] = (*GRID_VARIANTS, *SAMPLING_MODES, *FORECAST_VARIANTS, *STEP_COUNTS)


def studied_methods() -> tuple[Method, ...]:
    """The methods that can be chosen here, and the variants."""
    return (*known_methods(), *VARIANTS)


def studied_method(id: str) -> Method:
    """The method with this id, even if it cannot be chosen here. Raises `InvalidRequest` if there is none."""
    return method_of(id, (*methods.METHODS, *VARIANTS))
