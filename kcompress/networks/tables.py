"""The quantisation tables that go with a network."""

from collections.abc import Iterable
from dataclasses import replace

from kcompress.codecs import Backend, Codec
from kcompress.codecs.quantisation import QuantisationTables, learned
from kcompress.errors import UsageError
from kcompress.networks import NETWORKS


def with_tables(
    codec: Codec, asked: QuantisationTables | None, preprocessors: Iterable[str], backend: Backend
) -> Codec:
    """The codec with the tables that are asked for.

    Without any, they are the learned ones where they go with one of the preprocessors and the encoder takes any, else
    the encoder's own: the plain encoder stays plain.

    Args:
        codec: any; only one with tables can be given others.
        asked: tables, or None.
        preprocessors: names of those that may prepare the picture.
        backend: that will encode.

    Raises:
        UsageError: the codec has no tables, or the encoder has its own.
        WeightsError: the learned ones are needed and missing.
    """
    if asked is None:
        tabled = any(name in NETWORKS and NETWORKS[name].tabled for name in preprocessors)
        if codec.tables is None or not backend.takes_tables or not tabled:
            return codec
        return replace(codec, tables=learned())
    if codec.tables is None:
        raise UsageError(
            f"--tables {asked.name}: {codec.name} has no quantisation tables to choose. Leave it out, or take "
            "--codec jpeg."
        )
    if not backend.takes_tables:
        raise UsageError(
            f"--tables {asked.name}: the encoder {backend.name} ({backend.version()}) has tables of its own. Leave "
            "--tables out, or take --backend pillow."
        )
    return replace(codec, tables=asked)
