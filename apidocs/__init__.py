"""Documents made from routes, models and types: OpenAPI, AsyncAPI, and a page of HTML."""
