"""For programs that drive us. Nothing here is imported unless such a program asks for it."""
