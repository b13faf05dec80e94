"""Batches that are made ahead."""

from kcompress.training.task import prefetched as prefetched
