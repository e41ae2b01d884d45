"""What attention would see: the exact mass of every block, and what a few sampled rows say of it."""
