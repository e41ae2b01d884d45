"""Several methods on the same noise: what to compare, the runs one by one, and how good each clip is."""
