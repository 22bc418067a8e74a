"""Anthropic's Messages API, as far as its clients need it: a translation onto chat requests."""
