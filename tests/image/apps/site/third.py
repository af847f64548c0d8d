"""An installed module that loads a library and starts a program by name."""

import ctypes.util
import subprocess


def version():
    library = ctypes.CDLL(ctypes.util.find_library("expat"))
    library.XML_ExpatVersion.restype = ctypes.c_char_p
    return library.XML_ExpatVersion().decode()


def checksum():
    return subprocess.check_output(["cksum"], input="x", text=True)
