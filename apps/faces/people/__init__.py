"""Who is who in a table of faces: search, clusters, the contact sheet."""
