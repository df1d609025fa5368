"""Codecs, one a module: they turn weights into archive sections."""
