"""Searches made once per model: methods that attend in full and note what each head would need."""
