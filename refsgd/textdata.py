"""Sparse samples from text files larger than memory: svmlight and Vowpal Wabbit, plain, gzip or bzip2.

>>> from refsgd.textdata import FORMATS
>>> FORMATS
('auto', 'svmlight', 'vw')
"""

from .apps.textdata import FORMATS, Chunk, read_chunks

__all__ = ["FORMATS", "Chunk", "read_chunks"]
