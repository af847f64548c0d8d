package Own;
sub x { "own" }
1;
