"""Sweeps over many comparisons, their scores, and the study of the rotating grid."""
