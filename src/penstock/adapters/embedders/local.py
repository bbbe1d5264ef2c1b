"""The embedding model that comes with the extra `semantic`: WordLlama, 256 dimensions, in this process.

It is a table of vectors, one a token, and a text is their average: no order, no context, but some 25 µs for a short
question, so that it is made where it is needed, on the loop. Nothing is downloaded: the weights are in the package.
"""

import logging
from collections.abc import Callable, Collection
from pathlib import Path


class Local:
    """The model. Making it reads 16 MB and takes half a second. Raises ImportError where the extra is missing, OSError
    where the package is not as it should be."""

    def __init__(self) -> None:
        root = logging.getLogger()
        level, handlers = root.level, list(root.handlers)
        try:
            import wordllama
        finally:  # the package sets up everybody's logging when it is imported
            root.setLevel(level)
            root.handlers[:] = handlers
        # told to look into its own folder as a cache: it looks for its tokenizer nowhere else without a download
        model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
        self._encode = model.tokenizer.encode
        self._table = model.embedding

    def embed(self, text: str, told: Callable[[Collection[float] | None], None]) -> None:
        """See `base.ports.Embedder`: at once."""
        tokens = self._encode(text, add_special_tokens=False).ids
        told(self._table[tokens].mean(axis=0) if tokens else None)

    def close(self) -> None:
        """See `base.ports.Embedder`."""
