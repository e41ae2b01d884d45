"""What a training of the bundled model came to: whether its videos show what their captions say, and its run card."""
