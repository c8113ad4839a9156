"""HTML pages: the preview of a plan and the report of a run."""
