"""kcompress: preprocess a picture with a network, then compress it with a standard encoder."""

__version__ = "0.1.0"
