"""The filters of the label pool (Kuchen paper, section 4.2), one file each."""
