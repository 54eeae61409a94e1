"""What a rank measures and where numbers go. `event_file` and `trackers` are held by test_metrics_log.py."""
