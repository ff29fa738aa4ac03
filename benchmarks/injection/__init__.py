"""Faults for ``faults.py``: what is written (``works``), and what happens to it (``damage``, ``moments``)."""
