"""What a rank measures and where numbers go."""
