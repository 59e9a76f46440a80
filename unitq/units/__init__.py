"""Renders units and reads them back: the texts are units/*.j2 at the top of the checkout."""
