"""The pipeline: the only package that imports Ray and DeepSpeed. One module per stage; `full.py` is their sum."""
