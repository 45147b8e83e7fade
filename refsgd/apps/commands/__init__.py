"""The commands of ``python -m refsgd`` that work on text files: fit and predict."""
