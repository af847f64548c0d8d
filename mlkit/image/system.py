"""What any Linux image has: which of it programs expect, and which is no part of an app."""

from __future__ import annotations

import re

RUNTIME = (
    *("etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/host.conf", "etc/services"),
    *("etc/protocols", "etc/os-release", "usr/lib/os-release", "etc/ld.so.cache"),
    *("etc/ssl/certs/ca-certificates.crt", "etc/localtime", "etc/timezone", "etc/mime.types"),
    *("etc/ld.so.conf", "etc/ld.so.conf.d", "etc/ssl/openssl.cnf", "usr/lib/ssl/openssl.cnf"),
    *("usr/lib/locale/C.utf8", "tmp", "var/tmp", "root", "run", "home", "etc/debian_version"),
    *("etc/gai.conf", "etc/shells", "etc/inputrc", "etc/ethers", "etc/networks", "etc/rpc"),
)
"""Paths that programs expect of any system."""
LOADED_LATE = (
    *("etc/ssl/certs", "usr/lib/ssl", "usr/local/share/ca-certificates", "etc/pki/tls"),
    *("usr/share/zoneinfo", "usr/lib/locale"),
)
"""Data that libraries read when somebody asks, at whatever time that is."""
NOT_LATE = ("usr/lib/ssl/misc/", "usr/share/zoneinfo/right/", "usr/share/zoneinfo/posix/")
"""Among those: scripts for certificate authorities, and zones by other clocks."""
LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "var/run", "var/lock")
"""Links of the merged /usr, kept so that absolute paths go on working."""
SYSTEM = {"", "usr", "etc", "bin", "lib", "sbin", "var", "tmp", "root", "home", "opt", "usr/local"}
SYSTEM |= {"usr/bin", "usr/sbin", "usr/lib", "usr/local/bin", "usr/local/lib", "proc", "sys", "dev"}
SYSTEM |= {"run", "srv", "mnt", "media", "boot", "usr/share", "usr/local/share", "usr/include"}
SYSTEM |= {"var/lib", "var/log", "var/cache", "var/tmp", "usr/local/sbin", "usr/libexec", "usr/src"}
SYSTEM |= {"usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/local/etc", "lib64"}
"""Directories that are no app's own."""
REFUSE = ("usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/lintian/")
CACHES = ("var/cache/", "var/lib/apt/", "var/lib/dpkg/", "var/log/", "tmp/", "proc/", "sys/")
"""Directories whose contents are no part of an app."""
PYTHON_PLACES = re.compile(r"(?:^|/)python3(?:\.\d+)?(?:/|$)|\.zip$")
"""Where interpreters of Python look for modules; they list these directories."""
