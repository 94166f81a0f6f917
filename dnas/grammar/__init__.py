"""What files of spaces and architectures say, read into `dnas.space` by the registry of block kinds."""
