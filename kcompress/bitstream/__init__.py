"""Syntax of coded files, for those who read and those who write them: bits, HEVC's units, HEIF's boxes."""
