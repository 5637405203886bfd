"""Reports that a person wants to open: self-contained HTML pages and plots."""
