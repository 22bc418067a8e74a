"""The quick starts of clients that people use, against this server: client × feature."""
