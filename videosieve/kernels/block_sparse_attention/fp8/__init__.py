"""The same attention with q and k in FP8: its meaning, and its kernel."""
