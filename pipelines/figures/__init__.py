"""Plain data -> SVG and PNG."""
