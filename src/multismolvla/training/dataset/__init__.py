"""Looking at, converting and caching episodes."""
