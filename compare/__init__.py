"""The experiment: run Baseline, ToMe and ToDo on the same noise; time them, score them, write it down.

    from compare import Finished, load_pipeline, run, save_comparison

    loaded = load_pipeline()
    for event in run(loaded, loaded.request("a red apple on mint")):
        if isinstance(event, Finished):
            save_comparison(event.comparison, "result")

`Request → events → Comparison`; the page, the command line and the tests read the same events.
"""

import importlib
import logging
import os

# diffusers imports xformers wherever it finds it, and transformers looks for torchvision: both complain at
# length and neither is needed here. It has to be said before they are imported; set variables are respected.
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
logging.getLogger("xformers").setLevel(logging.ERROR)

_HOME = {
    "compare.errors": ("InvalidRequest", "ModelNotLoaded", "OutOfMemory", "QueueFull", "RunFailed"),
    "compare.methods": ("METHODS", "Method", "method_of"),
    "compare.request": ("Request",),
    "compare.events": (
        "Event", "Finished", "MethodDone", "MethodStarted", "Started", "StepDone", "Stopped", "Tick",
        "Waiting",
    ),
    "compare.report": (
        "Comparison", "Environment", "LevelTokens", "ModelInfo", "PlanSummary", "Result", "Scores", "Times",
    ),
    "compare.files": ("load_comparison", "save_comparison"),
    "compare.models.load": ("LoadedPipeline", "load_pipeline"),
    "compare.models.placement": ("attention_backends",),
    "compare.models.source": ("Defaults",),
    "compare.experiment.measure": ("prepare",),
    "compare.experiment.worker": ("run",),
    "compare.models.vocabulary": ("Vocabulary",),
    "compare.script": ("script_for",),
    "compare.sheet": ("contact_sheet",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    """Import on first use: `python -m compare --help` need not wait for torch."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)
