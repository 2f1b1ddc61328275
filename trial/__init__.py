"""Real servers to try tuspy-server on, from the wheels of `requirements/trial.txt`: PostgreSQL 18 and S3 gateways.

Tests, `make serve-s3` and the bench start them here, each as a process of ours that ends with us.
"""
