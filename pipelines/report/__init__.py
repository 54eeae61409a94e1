"""What a run left behind -> report.json and one page."""
