"""Pipelines as single files, with the tensor names of the original authors' code instead of diffusers'."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
UNET = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "embeddings.position_embedding.weight": "positional_embedding", "embeddings.token": "token",
    "text_projection.weight": "text_projection", "final_layer_norm": "ln_final",
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip


def save_single_file(pipe: DiffusionPipeline, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Save Stable Diffusion 1.5, whose text encoder is CLIP's, 2, whose is OpenCLIP's, or XL, with both."""
    if hasattr(pipe, "text_encoder_2"):
        tensors = _clip(pipe.text_encoder, "conditioner.embedders.0.transformer.text_model.")
        tensors |= _open_clip(pipe.text_encoder_2, "conditioner.embedders.1.model.")
    elif pipe.unet.config.use_linear_projection:
        tensors = _open_clip(pipe.text_encoder, "cond_stage_model.model.")
    else:
        tensors = _clip(pipe.text_encoder, "cond_stage_model.transformer.text_model.")
    tensors |= {f"model.diffusion_model.{name}": value for name, value in _unet(pipe.unet).items()}
    tensors |= {f"first_stage_model.{name}": value for name, value in _vae(pipe.vae).items()}
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, path, metadata)


def _unet(unet: UNet2DConditionModel) -> Tensors:
    layers = unet.config.layers_per_block
    return {_unet_name(name, layers): value for name, value in unet.state_dict().items()}


def _unet_name(name: str, layers: int) -> str:
    for ours, theirs in UNET.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs)
    parts = re.fullmatch(r"(down|mid|up)_blocks?\.(?:(\d+)\.)?(\w+)\.(\d+)\.(.*)", name)
    side, block, part, index, inner = parts.groups()
    if part == "resnets":
        for ours, theirs in RESNET.items():
            inner = inner.replace(ours, theirs)
    elif part == "downsamplers":
        inner = inner.replace("conv", "op")
    # The upsampler's place is 1 in a block without attention, and diffusers takes either.
    place = {"resnets": 0, "attentions": 1, "downsamplers": 0, "upsamplers": 2}[part]
    if side == "mid":
        return f"middle_block.{2 * int(index) + place}.{inner}"
    first = {"downsamplers": layers + 1, "upsamplers": layers}.get(part, 1 if side == "down" else 0)
    row = int(block) * (layers + 1) + first + int(index)
    return f"{'input' if side == 'down' else 'output'}_blocks.{row}.{place}.{inner}"


def _vae(vae: AutoencoderKL) -> Tensors:
    blocks = len(vae.config.block_out_channels)
    renamed = {}
    for name, value in vae.state_dict().items():
        new = _vae_name(name, blocks)
        is_1x1 = re.search(r"mid\.attn_1\.(q|k|v|proj_out)\.weight$", new)
        renamed[new] = value[..., None, None] if is_1x1 else value
    return renamed


def _vae_name(name: str, blocks: int) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if "mid_block.attentions.0" in name:
        name = name.replace("mid_block.attentions.0", "mid.attn_1")
        for ours, theirs in VAE_ATTENTION.items():
            name = name.replace(f".{ours}.", f".{theirs}.")
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(
        r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{blocks - 1 - int(m[1])}.block.{m[2]}", name
    )
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{blocks - 1 - int(m[1])}.upsample", name)


def _clip(encoder: torch.nn.Module, prefix: str) -> Tensors:
    return {prefix + name: value for name, value in _text_model(encoder).items()}


def _text_model(encoder: torch.nn.Module) -> Tensors:
    return {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}


def _open_clip(encoder: torch.nn.Module, prefix: str) -> Tensors:
    tensors = _text_model(encoder)
    renamed = {}
    for name, value in tensors.items():
        new = name.replace("encoder.layers", "transformer.resblocks")
        if "self_attn.q_proj" in name:  # the three are one matrix there
            three = [tensors[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            renamed[new.replace("self_attn.q_proj.", "attn.in_proj_")] = torch.cat(three)
        elif "k_proj" not in name and "v_proj" not in name:
            for ours, theirs in OPEN_CLIP.items():
                new = new.replace(ours, theirs)
            renamed[new] = value.T if name == "text_projection.weight" else value
    return {prefix + name: value for name, value in renamed.items()}
