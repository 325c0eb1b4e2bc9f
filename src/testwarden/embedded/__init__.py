"""The embedded network: a content store on 127.0.0.1 for the first run and for tests."""
