"""Training of the Kuchen U-Net from the labels of a filter pool."""
