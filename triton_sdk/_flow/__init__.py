"""What a call decides: generators and values that neither wait nor send, so that tests need no socket and no clock."""
