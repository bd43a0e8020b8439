"""What runs beside Triton, on a laptop and in a pod: it makes the server serve the versions of a plan.

It ships in the image and runs there on the system's own Python: it imports the standard library, and boto3 where the
store is in S3. Nothing of the other packages of scripts is imported here.
"""
