"""What holds where: places and zones of recipients, the hours of windows, and the shipped rules. Knows no run."""
