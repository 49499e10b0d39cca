"""The parts of the bundled model: SDXL's classes and wiring, small, and a tokenizer for its captions."""

from __future__ import annotations

import json
import random

from diffusers import AutoencoderKL, EulerDiscreteScheduler, Transformer2DModel, UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from tokenizers import Tokenizer, models, trainers
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from training.artwork import BACKGROUNDS, THINGS
from training.scenes import caption

LATENT_CHANNELS = 4
DOWNSCALE = 4  # image px per latent px; half of SDXL's, so 512 px has the token grid SDXL has at 1024
PROMPT_TOKENS = 77
TEXT_WIDTH = 64
SIZE_EMBEDDING = 32
TRAIN_TIMESTEPS = 1000
START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"


def build_vae() -> AutoencoderKL:
    """Autoencoder without attention, so its cost grows with the pixels only."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 32, 64),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=512,
        scaling_factor=1.0,  # the latents are normalised inside the weights, see vae.py
        mid_block_add_attention=False,
        force_upcast=False,
    )


def build_unet() -> UNet2DConditionModel:
    """SDXL's block types; self-attention at latent/2 (level 0) and latent/4 (level 1), as SDXL has it.

    Every residual branch starts as zero (arXiv 2006.11239's code, 2105.05233): it learns sooner.
    """
    unet = UNet2DConditionModel(
        sample_size=512 // DOWNSCALE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 96, 128),
        layers_per_block=1,
        transformer_layers_per_block=(1, 2, 2),
        attention_head_dim=(1, 3, 4),  # diffusers' name for the number of heads: 32 channels each
        cross_attention_dim=2 * TEXT_WIDTH,
        use_linear_projection=True,
        norm_num_groups=16,
        addition_embed_type="text_time",
        addition_time_embed_dim=SIZE_EMBEDDING,
        projection_class_embeddings_input_dim=TEXT_WIDTH + 6 * SIZE_EMBEDDING,
    )
    last_layers = [unet.conv_out]
    for module in unet.modules():
        if isinstance(module, ResnetBlock2D):
            last_layers.append(module.conv2)
        elif isinstance(module, Transformer2DModel):
            last_layers.append(module.proj_out)
    for layer in last_layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return unet


def build_text_encoders(
    vocabulary: int, bos: int, eos: int
) -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """Two small CLIP text encoders; the second has one layer more and the projection, as in SDXL."""

    def config(layers: int) -> CLIPTextConfig:
        return CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=layers,
            num_attention_heads=2,
            max_position_embeddings=PROMPT_TOKENS,
            bos_token_id=bos,
            eos_token_id=eos,
            pad_token_id=eos,
        )

    return CLIPTextModel(config(2)), CLIPTextModelWithProjection(config(3))


def build_scheduler() -> EulerDiscreteScheduler:
    """v-prediction with zero terminal SNR (arXiv 2305.08891): plain and dark backgrounds come out exact."""
    return EulerDiscreteScheduler(
        num_train_timesteps=TRAIN_TIMESTEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def build_tokenizer() -> CLIPTokenizer:
    """CLIP's byte-pair encoding with a few hundred merges that cover the caption words.

    Trained on captions of *all* things, so that a model that learns more of them later keeps its tokens. Any
    text can be encoded: what no merge covers falls back to single bytes.
    """
    rng = random.Random(0)
    corpus = [caption(rng, [thing], rng.choice(BACKGROUNDS)) for _ in range(100) for thing in THINGS]
    clip = CLIPTokenizer().backend_tokenizer
    bpe = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    bpe.normalizer, bpe.pre_tokenizer = clip.normalizer, clip.pre_tokenizer
    alphabet = sorted(ByteLevel.alphabet())
    # Large enough for every caption word to become one token.
    trainer = trainers.BpeTrainer(
        vocab_size=4000, initial_alphabet=alphabet, end_of_word_suffix=WORD_END, show_progress=False
    )
    bpe.train_from_iterator(corpus, trainer)
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    tokens = [START, END, *alphabet, *(letter + WORD_END for letter in alphabet), *(a + b for a, b in merges)]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(dict.fromkeys(tokens))},
        merges=merges,
        model_max_length=PROMPT_TOKENS,
    )
