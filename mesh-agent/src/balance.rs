//! Which endpoint of a cluster gets the next connection or request.
