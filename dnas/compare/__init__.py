"""Was a search worth it? The network found beside drawn, scaled and published ones, trained alike."""
