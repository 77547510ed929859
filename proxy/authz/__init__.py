"""What a caller may see: User and RequestInfo and PolicySnapshot in, Permit (with its Scope) or Denied out. Pure."""
