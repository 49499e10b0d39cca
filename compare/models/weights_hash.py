"""A hash of a pipeline's weights: folders keep their names when the weights change."""

from __future__ import annotations

import hashlib

import torch
from diffusers import DiffusionPipeline


def fingerprint(pipe: DiffusionPipeline) -> str:
    """16 hexadecimal digits that change with any weight of the pipeline, on whatever device it is."""
    digest = hashlib.sha256()
    for name, part in sorted(pipe.components.items()):
        if isinstance(part, torch.nn.Module):
            for weight, values in part.state_dict().items():
                digest.update(f"{name}.{weight}".encode())
                # Rounded to float16, so that the same model has one hash in float32 and in float16.
                digest.update(values.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
