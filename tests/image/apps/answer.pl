#!/usr/bin/perl
use strict;
use JSON::PP;
use POSIX qw(strftime);
print JSON::PP->new->canonical->encode({year => strftime("%Y", gmtime(0)), list => [1, 2]}), "\n";
