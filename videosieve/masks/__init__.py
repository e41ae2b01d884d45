"""Which blocks of an attention are computed: blocks of one size, of any size, one bit a block, and how large they are."""
