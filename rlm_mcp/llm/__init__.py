"""Model endpoints: the wire, the limiter, what an endpoint can do, scripted stand-ins."""
