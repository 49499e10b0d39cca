"""On what a comparison ran."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from compare.report import Environment

PACKAGES = ("torch", "diffusers", "transformers", "tomesd", "DeepCache", "xformers", "torchmetrics", "gradio")


def environment(device: torch.device) -> Environment:
    """Describe this machine and the packages that matter here."""
    accelerator = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    return Environment(
        platform=platform.platform(),
        python=platform.python_version(),
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory=psutil.virtual_memory().total,
        accelerator=accelerator.name if accelerator else None if device.type == "cpu" else device.type,
        accelerator_memory=accelerator.total_memory if accelerator else None,
        packages=_versions(),
    )


def _cpu_name() -> str:
    with suppress(OSError):  # only Linux has the file, and there `platform` knows no more than "x86_64"
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
