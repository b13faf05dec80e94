"""The filters of the label pool (Kuchen paper, section 4.2), one file each, as preprocessors and in groups."""

from kcompress.pool.filters import FILTERS, Filter, FilterContext, FilterType, filter_named
from kcompress.pool.groups import IDENTITY, Group, groups
from kcompress.pool.guetzli import GuetzliLimits

__all__ = [
    "FILTERS", "IDENTITY", "Filter", "FilterContext", "FilterType", "Group", "GuetzliLimits", "filter_named", "groups",
]  # fmt: skip
