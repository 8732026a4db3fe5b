"""Everything that touches a survey's files."""
