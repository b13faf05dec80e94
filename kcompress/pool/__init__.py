"""The filters of the label pool (Kuchen paper, section 4.2), one file each, as preprocessors and in groups."""

from kcompress.pool.filters import FILTERS, Filter, Kind, Means, filter_named
from kcompress.pool.groups import IDENTITY, Group, groups
from kcompress.pool.guetzli import Limits

__all__ = ["FILTERS", "IDENTITY", "Filter", "Group", "Kind", "Limits", "Means", "filter_named", "groups"]
