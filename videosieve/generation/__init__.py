"""From a prompt to files: load a pipeline, take a request, generate, and write what came out."""
