//! The server from its wire: on virtual time over pipes, and on loopback sockets.

mod fuzz;
mod requests;
mod wire;
mod world;
