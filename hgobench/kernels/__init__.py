"""Fast arithmetic: loops compiled for this processor, sorting, inner products, tiles of columns."""
