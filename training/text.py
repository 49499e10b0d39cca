"""The tokenizer: CLIP's byte-pair encoding with a few hundred merges that cover the caption words."""

from __future__ import annotations

import json
import random

from tokenizers import Tokenizer, models, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from training.artwork import BACKGROUNDS, THINGS
from training.scenes import caption
from training.shape import PROMPT_TOKENS

START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"


def build_tokenizer() -> CLIPTokenizer:
    """Trained on captions of *all* things, so that a model that learns more of them later keeps its tokens.

    Any text can be written with it: what no merge covers falls back to single bytes.
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
