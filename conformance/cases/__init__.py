"""The cases, one file a chapter. A case's documentation is the row that its decorator names."""
