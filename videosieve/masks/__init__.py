"""Which blocks of an attention are computed: blocks of one size, blocks of any size, and what both have in common."""
