"""The console: pages for whoever is on call, rendered here, refreshed by htmx, with nothing from outside."""
