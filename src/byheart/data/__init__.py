"""Read, deduplicate and split texts; plant canaries; check that members and non-members are comparable."""
