"""Who is asked and how: one file a teacher, one table."""
