"""What connects this package to others; each module needs the extra of its name."""
