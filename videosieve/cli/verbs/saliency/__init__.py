"""Where concepts are in videos and images: maps, scores, ablations."""
