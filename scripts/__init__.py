"""Everything that acts on the outside world for this repository; each module is one job."""
