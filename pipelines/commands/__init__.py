"""One module per `skel` command (or family of commands): its arguments and what it calls. No stage's work is here."""
