"""Everything that speaks with AWS, botocore and aiohttp. The folder knows nothing of the cache."""
