"""Shared code of the prestage modules; copied to the site with each, so only the standard library is used."""
