"""What commands ask of instances, and who answers: a journal, or a server that has one."""
