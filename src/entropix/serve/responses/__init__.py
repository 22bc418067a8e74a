"""OpenAI's Responses API: a translation onto chat requests, and a memory of the answers."""
