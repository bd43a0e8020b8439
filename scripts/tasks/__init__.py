"""What a person types and sees: a module for each part of a release's life.

The body of a task turns flags to values, makes one call and prints one table. It imports what it calls itself, as the
first thing that it does; the head of a module here has only the standard library, Invoke, the flags and the failure.
So `invoke --list` and the completion of a shell wait for none of it.
"""
