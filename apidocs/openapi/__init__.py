"""The OpenAPI document and its page, made of the routes, the models that judge and the types that are shown.

To document a new route, add an `Operation` under its handler in the file of its topic; a test names those without one.
"""
