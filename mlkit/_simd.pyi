"""Instruction sets of the native kernels."""

def available() -> list[str]:
    """List the instruction sets that this machine can run, narrowest first."""

def selected() -> str:
    """Name the instruction set that the kernels use: the widest one, or MLKIT_SIMD's.

    Raises ValueError if MLKIT_SIMD names a set that this machine does not offer.
    """
