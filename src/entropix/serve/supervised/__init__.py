"""`entropix serve --supervised`: a small process in front of the server's, which starts it again after a crash.

It holds the address, never the model; whatever it imports must stay light. A request whose client has been sent nothing
yet outlives the crash: it is sent again to the next process."""
