"""Words against motion: claims of a text, verdicts of the joints. No Ray."""
