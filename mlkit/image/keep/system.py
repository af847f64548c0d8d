"""What any Linux image has: which of it programs expect, and which is not part of an app."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mlkit.image.filesystem.elf import PLACES

RUNTIME = (
    *("etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/host.conf", "etc/services"),
    *("etc/protocols", "etc/os-release", "usr/lib/os-release", "etc/ld.so.cache"),
    *("etc/ssl/certs/ca-certificates.crt", "etc/localtime", "etc/timezone", "etc/mime.types"),
    *("etc/ld.so.conf", "etc/ld.so.conf.d", "etc/ssl/openssl.cnf", "usr/lib/ssl/openssl.cnf"),
    *("usr/lib/locale/C.utf8", "tmp", "var/tmp", "root", "run", "home", "etc/debian_version"),
    *("etc/shadow", "etc/gshadow", "usr/share/mime/globs2", "usr/share/mime/mime.cache"),
    *("usr/share/mime/magic", "usr/share/mime/aliases", "usr/share/mime/subclasses"),
    *("etc/apache2/mime.types", "usr/share/misc/magic", "etc/magic"),
    *("etc/alpine-release", "etc/apk/repositories", "etc/ssl/cert.pem", "etc/secfixes.d"),
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
"""Directories that are not an app's own."""
REFUSE = ("usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/lintian/")
APK = ("lib/apk/", "usr/lib/apk/", "etc/apk/")
CACHES = ("var/cache/", "var/lib/apt/", "var/lib/dpkg/", "var/log/", "tmp/", "proc/", "sys/", *APK)
"""Directories whose contents are not part of an app."""
PYTHON_PLACES = re.compile(r"(?:^|/)python3(?:\.\d+)?(?:/|$)|\.zip$")
"""Where interpreters of Python look for modules; they list these directories."""
DATABASES = ("var/lib/dpkg/", "var/lib/apt/", *APK)
"""What names all files of an image, for whom it is not an app to say that it needs them."""
LANGUAGES = {
    "perl": ("etc/perl", "usr/share/perl", "usr/share/perl5", "usr/local/share/perl", "*/perl",
             "*/perl5", "*/perl-base"),
    "ruby": ("usr/lib/ruby", "usr/share/ruby", "usr/share/rubygems-integration", "var/lib/gems",
             "usr/local/lib/ruby", "usr/local/bundle", "*/ruby"),
    "php": ("etc/php", "usr/lib/php", "usr/share/php", "usr/local/lib/php", "usr/local/etc/php",
            *(f"{place}/php8{minor}" for minor in range(10)
              for place in ("etc", "usr/lib", "usr/share"))),
    "java": ("usr/lib/jvm", "usr/share/java", "etc/java"),
    "lua": ("usr/share/lua", "usr/local/share/lua", "usr/local/lib/lua", "*/lua"),
    "tclsh": ("usr/share/tcltk", "usr/lib/tcltk", "usr/lib/tcl8.6"),
    "guile": ("usr/share/guile", "*/guile"),
    "R": ("etc/R", "usr/lib/R", "usr/share/R", "usr/local/lib/R"),
    "Rscript": ("etc/R", "usr/lib/R", "usr/share/R", "usr/local/lib/R"),
}  # fmt: skip
"""Where languages that are not understood here have their libraries; `*` is where C has its own."""


def spread(places: Iterable[str]) -> Iterator[str]:
    """Write out `*`, which stands for each directory in which C has its libraries."""
    for place in places:
        if "*/" in place:
            yield from (place.replace("*", folder) for folder in PLACES)
        else:
            yield place


BUILDERS = {"cc", "gcc", "c++", "g++", "clang", "ld", "ar", "as", "make", "cmake", "ninja", "pip"}
"""Programs that packages of Python start when they are built, or build others."""
TERMINFO = ("usr/share/terminfo", "lib/terminfo", "etc/terminfo")
FONTS = ("etc/fonts", "usr/share/fonts", "usr/share/fontconfig", "var/cache/fontconfig")
NOT_WHOLE = (*REFUSE, *(f"{each}/" for each in LOADED_LATE), *CACHES, "etc/alternatives/",
             "usr/share/locale/", "usr/lib/locale/")  # fmt: skip
"""Directories of which not all is kept where somebody names them: other rules know better."""
