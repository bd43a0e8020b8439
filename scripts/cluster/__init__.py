"""The deployment on Kubernetes: chart, preflight, rollout, and what runs there."""
