"""The canary: a version gets a small part of the calls, and is judged by what became of them."""
