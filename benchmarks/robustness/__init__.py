"""What the library does with input that nobody should give it: `python -m benchmarks.robustness` counts the answers."""
