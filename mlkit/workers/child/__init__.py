"""The process that runs scripts; its files need nothing but the standard library."""
