"""One job: plan, path, keys, pipeline, what is logged."""
