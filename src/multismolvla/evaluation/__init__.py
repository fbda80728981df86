"""Measuring the stack: reports, pictures and tables from recorded runs."""
