"""One image, four ways: reference is the oracle."""
