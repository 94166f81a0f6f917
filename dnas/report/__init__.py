"""What a search found and how, as one self-contained HTML page and as PNG pictures."""
