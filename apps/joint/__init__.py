"""Several heads on one backbone: trained together, and asked together."""
