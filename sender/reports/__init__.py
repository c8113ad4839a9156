"""What a person sees of a run: results, status, figures and pages."""
