"""Stage: a teacher explains every training clip."""
