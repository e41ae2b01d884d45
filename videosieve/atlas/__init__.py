"""The head atlas: which heads of a model are spatial, temporal or neither, and what a density keeps of their mass."""
