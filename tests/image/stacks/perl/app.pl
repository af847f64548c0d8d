use strict;
use HTTP::Daemon;
use HTTP::Response;
$SIG{TERM} = sub { exit 0 };
my $server = HTTP::Daemon->new(LocalAddr => '0.0.0.0', LocalPort => 8000, ReuseAddr => 1) or die $!;
my %routes = (
  '/late' => sub { require Time::Piece; Time::Piece::gmtime(0)->ymd },
  '/pipe' => sub { my $x = `sort /srv/list | head -1`; $x },
  '/json' => sub { require JSON::PP; JSON::PP::encode_json([1]) },
  '/posix' => sub { require POSIX; POSIX::strftime('%A', gmtime 0) },
  '/own' => sub { require '/srv/Own.pm'; Own::x() },
  '/encode' => sub { require Encode; unpack 'H*', Encode::encode('euc-jp', "\x{65e5}") },
  '/digest' => sub { require Digest::SHA; Digest::SHA::sha1_hex('x') },
  '/names' => sub { require charnames; charnames::viacode(0x1F600) },
);
while (my $client = $server->accept) {
  while (my $request = $client->get_request) {
    my $route = $routes{$request->uri->path};
    my $text = eval { $route ? $route->() : 'home' };
    $client->send_response(HTTP::Response->new($@ ? 500 : 200, undef, undef, $@ || $text));
  }
  $client->close;
}
