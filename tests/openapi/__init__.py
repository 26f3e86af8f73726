"""The OpenAPI documents and what the services answer: held to one another by programs that know the documents alone."""
