"""The pictures of the documents that are drawn from data: `make pictures`."""
