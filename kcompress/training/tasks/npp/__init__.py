"""The neural preprocessor for machine vision: from a model and pictures to its weights."""
