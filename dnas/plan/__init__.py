"""What a step of a search will need on a device, whether that is here or not."""
