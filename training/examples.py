"""The twelve fixed prompts by which a model is looked at, one seed each; the page offers the same ones."""

EXAMPLES = (
    "a red apple on mint",
    "a fox on navy",
    "a butterfly on sky blue",
    "a frog on pink",
    "a mushroom on yellow",
    "a penguin on orange",
    "an alien on lavender",
    "a sunflower on white",
    "pineapples on navy",
    "a koala on pink",
    "doughnuts on white",
    "a star and a bee on navy",
)
FIRST_SEED = 100  # the n-th prompt is drawn with seed FIRST_SEED + n, n from 0
