"""What can be known before anything has changed: files, programs, accounts, credentials, order."""
