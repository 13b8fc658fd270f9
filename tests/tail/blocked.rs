//! What only the whole program on a real machine can show.
