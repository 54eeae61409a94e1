"""Skeleton files of any format in, one validated record out. numpy and pyarrow only: no torch, no Ray, no models."""
