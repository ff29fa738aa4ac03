"""A twin as a folder of compiled-anywhere programs that needs only JAX."""
