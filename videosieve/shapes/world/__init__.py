"""What a clip can show: factors, the captions that name them, and the renderer that draws them."""
