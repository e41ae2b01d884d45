"""From a prompt to files: load a pipeline, generate, compare methods, write videos and results."""
