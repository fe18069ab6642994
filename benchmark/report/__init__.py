"""From outcomes to what a person reads: readings, documents, tables and plots."""
