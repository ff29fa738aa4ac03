"""What several parts of the package use: files, records, checks, digests, drawing."""
