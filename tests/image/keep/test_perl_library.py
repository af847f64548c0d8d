"""Of Perl's core library only that is kept which scripts of packages need, if only they run."""

from __future__ import annotations

import pytest
from image.archives import Member
from image.keep.test_dynamically_loaded import elf, kept

from mlkit.image.run.trace import Trace

LIB = "usr/lib/x86_64-linux-gnu"
CORE = "usr/share/perl/5.36"
ARCH = f"{LIB}/perl/5.36"
SCRIPT = """#!/usr/bin/perl -w
use strict;
use POSIX qw(strftime);
use parent 'Low';
# Not::Meant
1;  # what tools require $x for
my $x = File::Spec->new;
require "late.pl";
=pod

See Only::Documented.

=cut
__END__
Only::Data
"""
LIBRARY = {
    f"{CORE}/Low.pm": "require Lower;",
    f"{CORE}/Lower.pm": "1;",
    f"{CORE}/late.pl": "1;",
    f"{CORE}/File/Spec.pm": 'my $module = "Unix"; require "File/Spec/$module.pm";',
    f"{CORE}/File/Spec/Unix.pm": "1;",
    f"{CORE}/unicore/To/Lower.pl": "1;",
    f"{ARCH}/POSIX.pm": "XSLoader::load();",
    f"{ARCH}/auto/POSIX/POSIX.so": "x",
    f"{ARCH}/Config.pm": "1;",
    f"{CORE}/warnings.pm": "1;",
    "usr/share/perl5/Tool.pm": "use Text::Wrap;",
    f"{CORE}/Text/Wrap.pm": "1;",
}
UNUSED = {
    f"{CORE}/CPAN.pm": "1;",
    f"{CORE}/Not/Meant.pm": "1;",
    f"{CORE}/Only/Documented.pm": "1;",
    f"{CORE}/Only/Data.pm": "1;",
    f"{ARCH}/Encode.pm": "1;",
    f"{ARCH}/auto/Encode/JP/JP.so": "x",
}
FOR_COMPILERS = {f"{ARCH}/CORE/perl.h": "x", f"{ARCH}/POSIX.pod": "=pod\n", f"{LIB}/perl/x.a": "x"}
EXPLAINED = f"{CORE}/pod/perldiag.pod"
"""What `use diagnostics` reads."""


def slimmed(
    tmp_path, app="#!/bin/sh\nreport\n", script=SCRIPT, extra=(), env=(), helpers=(), **request
):
    """Compute the reasons of an image whose own script starts a script of a package in Perl."""
    own = [Member("app/run", app, mode=0o755), *extra]
    files = {**LIBRARY, **UNUSED, **FOR_COMPILERS, EXPLAINED: "=pod\n"}
    owned = {
        "perl-base": ["usr/bin/perl", f"{LIB}/perl-base/Carp.pm"],
        "libperl": [path for path in files if "perl5/" not in path],
        "tool": ["usr/bin/report", "usr/share/perl5/Tool.pm", *(each.name for each in helpers)],
        "dash": ["usr/bin/sh"],
    }
    members = [
        *own,
        *helpers,
        Member("bin", link="usr/bin"),
        Member("usr/bin/perl", elf(), mode=0o755),
        Member("usr/bin/sh", elf(), mode=0o755),
        Member("usr/bin/report", script, mode=0o755),
        Member(f"{LIB}/perl-base/Carp.pm", "1;"),
        *(Member(path, text) for path, text in files.items()),
    ]
    config = {"Cmd": ["/app/run"], "Env": ["PATH=/usr/bin", *env]}
    names = [each.name for each in own]
    return kept(tmp_path, members, config, owned, names, **request)


def test_a_script_of_a_package_needs_what_it_names(tmp_path):
    reasons = slimmed(tmp_path)
    assert not LIBRARY.keys() - reasons.keys()
    assert f"{LIB}/perl-base/Carp.pm" in reasons, "what is essential stays whole"
    assert not (UNUSED.keys() | FOR_COMPILERS.keys() | {EXPLAINED}) & reasons.keys()
    assert reasons[f"{ARCH}/POSIX.pm"] == "perl import of usr/bin/report"


def test_a_script_that_encodes_has_all_encodings(tmp_path):
    script = SCRIPT.replace("use strict;", "binmode STDOUT, ':encoding(UTF-8)';")
    assert f"{ARCH}/Encode.pm" in slimmed(tmp_path, script=script)


def test_the_users_settings_may_name_modules(tmp_path):
    extra = [Member("etc/tool.conf", "plugin: Not::Meant\n")]
    reasons = slimmed(tmp_path, extra=extra)
    assert f"{CORE}/Not/Meant.pm" in reasons
    assert f"{CORE}/CPAN.pm" not in reasons


@pytest.mark.parametrize(
    "change",
    [
        {"app": "#!/bin/sh\nreport; perl -e 'print 1'\n"},
        {"app": "#!/usr/bin/perl\nprint 1;\n"},
        {"extra": [Member("app/lib/Own.pm", "1;")]},
        {"env": ["PERL5LIB=/app/lib"]},
        {"env": ["PERL5OPT=-MCPAN"]},
        {"env": ["REPORT=perl"]},
        {"script": SCRIPT.replace("use strict;", "eval { require $ARGV[0] };")},
        {"trace": Trace(frozenset({"/usr/bin/perl"}))},
        {"profile": "safe"},
    ],
    ids=["inline", "script", "module", "path", "options", "variable", "eval", "run", "safe"],
)
def test_else_the_library_stays_whole(tmp_path, change):
    reasons = slimmed(tmp_path, **change)
    assert not UNUSED.keys() - reasons.keys()
    assert EXPLAINED in reasons
    if change != {"profile": "safe"}:
        assert not FOR_COMPILERS.keys() & reasons.keys()


def test_a_run_of_the_script_itself_shows_whose_perl_it_is(tmp_path):
    trace = Trace(frozenset({"/usr/bin/perl", "/usr/bin/report"}))
    assert f"{CORE}/CPAN.pm" not in slimmed(tmp_path, trace=trace)


def test_a_helper_that_nobody_names_reads_no_settings(tmp_path):
    page = "usr/share/tool/page.cgi"
    extra = [Member(page, "#!/usr/bin/perl\nuse Low;\ndo $ARGV[0];\n", mode=0o755)]
    assert f"{CORE}/CPAN.pm" not in slimmed(tmp_path, helpers=extra)


def test_a_folder_of_that_name_runs_no_perl(tmp_path):
    reasons = slimmed(tmp_path, app="#!/bin/sh\n")
    assert not {path for path in reasons if "Low.pm" in path or path == "usr/bin/perl"}
