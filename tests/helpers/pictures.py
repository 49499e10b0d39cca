"""SHA-256 of the pictures of a few requests: `python -m tests.helpers.pictures` prints them as JSON.

One thread and AVX2, which every x86-64 machine of the last ten years has, so that the numbers depend on the
machine as little as can be; some differ still. The variables have to be set before torch is imported, hence a
program of its own.
"""

import hashlib
import json
import os

SAME_ARITHMETIC = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
SIDE, STEPS = 128, 4
DIFFUSERS = "0 baseline, by diffusers alone"
REQUESTS = (
    {"prompt": "a fox on navy", "methods": ("baseline", "tome", "todo", "todo-rotating"), "seed": 101},
    {
        "prompt": "a red apple and a frog on mint",
        "negative_prompt": "an alien",
        "methods": ("baseline", "todo", "todo-rotating"),
        "width": 168,
        "height": 104,
        "factor": (3, 2),
        "guidance_scale": 4.0,
    },
    {"prompt": "a frog", "methods": ("tome", "todo"), "guidance_scale": 1.0, "factor": (2, 2), "seed": 7},
)


def hashes() -> dict[str, str]:
    """By request (its place in `REQUESTS`) and method."""
    from compare import load_pipeline, run
    from tests.helpers.run import finished

    loaded = load_pipeline(device="cpu")
    found = {}
    for number, request in enumerate(REQUESTS):
        size = {"width": SIDE, "height": SIDE, "steps": STEPS}
        for result in finished(run(loaded, loaded.request(**{**size, **request}))).results:
            pixels = result.image.convert("RGB").tobytes()
            found[f"{number} {result.method}"] = hashlib.sha256(pixels).hexdigest()
    return found


def without_this_project() -> str:
    """The hash of the first request's Baseline as diffusers alone draws it."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    from compare.models.source import BUNDLED, BUNDLED_DEFAULTS

    pipe = StableDiffusionXLPipeline.from_pretrained(BUNDLED, dtype=torch.float32)
    (picture,) = pipe(
        REQUESTS[0]["prompt"],
        height=SIDE,
        width=SIDE,
        num_inference_steps=STEPS,
        guidance_scale=BUNDLED_DEFAULTS.guidance_scale,
        generator=torch.Generator().manual_seed(REQUESTS[0]["seed"]),
    ).images
    return hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()


if __name__ == "__main__":
    os.environ.update(SAME_ARITHMETIC)
    print(json.dumps(hashes() | {DIFFUSERS: without_this_project()}, indent=1))
