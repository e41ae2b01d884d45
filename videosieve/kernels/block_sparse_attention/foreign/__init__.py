"""Other people's kernels of this op: taken by name, and tested before their first use."""
