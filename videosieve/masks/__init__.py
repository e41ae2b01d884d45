"""Which blocks of an attention are computed: of one size, of any size, one bit a block; and how large a block is."""
