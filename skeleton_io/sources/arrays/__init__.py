"""Files of any layout by a YAML."""
