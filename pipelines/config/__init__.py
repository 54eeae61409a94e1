"""YAML -> one frozen tree. No torch, no Ray."""
