"""The operator's commands over HTTP alone: they work from any machine and open no database."""
