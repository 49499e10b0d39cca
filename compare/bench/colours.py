"""The colour of each method, the same in all plots."""

COLOURS = {
    "tome": "#d95f02",
    "todo": "#1b9e77",
    "todo-rotating": "#7570b3",
    "fewer-steps": "#a6761d",
    "todo-two-levels": "#1f78b4",
    "todo-processor": "#666666",
    "tome-limit": "#d95f02",
    "todo-limit": "#1b9e77",
    "todo-two-levels-limit": "#1f78b4",
}
