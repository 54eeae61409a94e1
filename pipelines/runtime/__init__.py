"""The ground of every stage: paths, manifest, digest, errors, exit codes, stop requests."""
