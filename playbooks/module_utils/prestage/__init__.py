"""What the prestage modules share; copied to the site with each of them, so only the standard library is used."""
