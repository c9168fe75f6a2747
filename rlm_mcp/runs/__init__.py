"""What is kept of runs: journal, jobs, costs, traces, status lines."""
