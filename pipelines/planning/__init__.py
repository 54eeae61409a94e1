"""What training would need; starts nothing."""
